/** How large the SDK is in a page: bundled with all that it needs, minified, compressed. */

import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

/** Not more than this. What is added has to be worth it. */
export const MAX_GZIPPED_BYTES = 15_600;

const ROOT = fileURLToPath(new URL("../src/index.ts", import.meta.url));

/** Its size in bytes. */
export async function sizes() {
  const options = { bundle: true, minify: true, format: "esm", target: "es2022", write: false };
  const { outputFiles } = await build({ entryPoints: [ROOT], ...options });
  const [{ contents }] = outputFiles;
  return { minified: contents.length, gzipped: gzipSync(contents, { level: 9 }).length };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { minified, gzipped } = await sizes();
  const bytes = (count) => `${count.toLocaleString("en")} bytes`;
  process.stdout.write(
    `${bytes(gzipped)} gzipped, of ${bytes(MAX_GZIPPED_BYTES)} (${bytes(minified)} minified)\n`,
  );
}
