/** A real server in a process of its own, which can be killed. */

import { type ChildProcess, spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const PYTHON = process.env.TIMEWIRE_PYTHON ?? join(ROOT, ".venv/bin/python");

export class TestServer {
  url = "";
  readonly data = mkdtempSync(join(tmpdir(), "timewire-"));
  #process: ChildProcess | undefined;

  constructor(private readonly settings: Readonly<Record<string, string>> = {}) {}

  /** Start it; it listens. */
  async start(): Promise<this> {
    const set = { data: join(this.data, "data"), port: "0", log_format: "json", ...this.settings };
    const port = this.url ? { port: new URL(this.url).port } : {};
    const env = Object.fromEntries(
      Object.entries({ ...set, ...port }).map(([key, value]) => [
        `TIMEWIRE_${key.toUpperCase()}`,
        value,
      ]),
    );
    const inherited = Object.entries(process.env).filter(([key]) => !key.startsWith("TIMEWIRE_"));
    this.#process = spawn(PYTHON, ["-m", "timewire", "serve"], {
      env: { ...Object.fromEntries(inherited), ...env },
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.url = await this.#listening(this.#process);
    return this;
  }

  #listening(process: ChildProcess): Promise<string> {
    return new Promise((resolve, reject) => {
      let log = "";
      process.stderr?.on("data", (some) => {
        log += some;
        const line = log.split("\n").find((one) => one.includes('"listening"'));
        if (line?.endsWith("}")) resolve(JSON.parse(line).url);
      });
      process.on("error", reject);
      process.on("exit", () => reject(new Error(`the server ended at its start: ${log}`)));
    });
  }

  /** End it as a crash would. */
  async kill(): Promise<void> {
    const process = this.#process;
    if (!process || process.exitCode !== null || process.signalCode !== null) return;
    const ended = new Promise((resolve) => process.on("exit", resolve));
    process.kill("SIGKILL");
    await ended;
  }

  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  /** End it, and remove all that it has kept. */
  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.data, { recursive: true, force: true });
  }

  /** A token of this server. */
  token(user: string, lifeS = 3600): string {
    const secret = readFileSync(join(this.data, "data", "secret"), "utf8").trim();
    const said = [
      { alg: "HS256", typ: "JWT" },
      { sub: user, exp: Math.floor(Date.now() / 1000) + lifeS },
    ].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"));
    const signature = createHmac("sha256", secret).update(said.join(".")).digest("base64url");
    return [...said, signature].join(".");
  }
}
