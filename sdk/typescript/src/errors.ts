/** Everything that can go wrong: one class, with a stable code and a kind that says what to do. */

import { ADVICE, ERROR_KINDS, type ErrorKind, type Json, type Problem } from "./protocol.js";

/** An error as it travels between tabs. */
export interface PlainError {
  readonly code: string;
  readonly message: string;
  readonly fields: Json;
  readonly retry: boolean;
}

/**
 * What went wrong. Compare `code`, never the sentence. `kind` says what can be done: `invalid` and
 * `forbidden` stay so when repeated; `retry` is true for what may succeed later.
 */
export class TimewireError extends Error {
  override readonly name = "TimewireError";
  readonly kind: ErrorKind;
  readonly retry: boolean;

  constructor(
    readonly code: string,
    message: string,
    readonly fields: Json = {},
    retry = false,
  ) {
    super(message);
    this.kind = kindOf(code) ?? (retry ? "retryable" : "invalid");
    this.retry = this.kind === "retryable" || this.kind === "unknown_outcome";
  }

  plain(): PlainError {
    return { code: this.code, message: this.message, fields: this.fields, retry: this.retry };
  }
}

/** An error that this SDK raises itself; `message`: in better words than the code's. */
export function error(code: string, fields?: Json, message?: string): TimewireError {
  return new TimewireError(code, message ?? ADVICE[code] ?? code.replaceAll("_", " "), fields);
}

/** The error of an `error` frame, or one from another tab; also of a code that is not known here. */
export function faultOf(told: Problem | PlainError): TimewireError {
  return new TimewireError(told.code, told.message, told.fields, told.retry);
}

/** Whatever was thrown, as an error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** Why something failed, in the words of what was thrown. */
export function reasonOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message || thrown.name : String(thrown);
}

function kindOf(code: string): ErrorKind | undefined {
  const kinds = Object.entries(ERROR_KINDS) as [ErrorKind, string][];
  return kinds.find(([, codes]) => codes.split(" ").includes(code))?.[0];
}
