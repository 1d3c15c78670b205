/** What the shell learns from both programs. */
import type { ErrorCode } from '../base/error.ts'

/** `get` found no such key. */
export const EXIT_NOT_FOUND = 1
/** Bad usage or bad input: the same command will fail again. */
export const EXIT_USAGE = 2
/** No peer reached, no quorum in time, overloaded: the same command may succeed later. */
export const EXIT_UNAVAILABLE = 3

/**
 * NOT_FOUND as an error is about what was named besides the key, such as a keyspace: a missing key is an
 * answer.
 */
const EXIT_CODES: Readonly<Record<ErrorCode, number>> = {
  INVALID_ARGUMENT: EXIT_USAGE,
  UNAUTHENTICATED: EXIT_USAGE,
  FORBIDDEN: EXIT_USAGE,
  NOT_FOUND: EXIT_USAGE,
  CONFLICT: EXIT_USAGE,
  TOO_LARGE: EXIT_USAGE,
  OVERLOADED: EXIT_UNAVAILABLE,
  UNAVAILABLE: EXIT_UNAVAILABLE,
  TIMEOUT_UNKNOWN: EXIT_UNAVAILABLE,
  INTERNAL: EXIT_UNAVAILABLE,
}

export function exitCodeOf(code: ErrorCode): number {
  return EXIT_CODES[code]
}
