/**
 * The one error type for failures that are expected. Programs branch on `code`, people read `message`: what
 * happened, and what to do.
 */

/** Every code there is; whether trying the same again can help; the HTTP status it is shown as. */
export const ERROR_CODES = {
  INVALID_ARGUMENT: { retryable: false, status: 400 },
  UNAUTHENTICATED: { retryable: false, status: 401 },
  FORBIDDEN: { retryable: false, status: 403 },
  NOT_FOUND: { retryable: false, status: 404 },
  /** The request does not fit the state of things: a keyspace exists already, a layout number moved on. */
  CONFLICT: { retryable: false, status: 409 },
  TOO_LARGE: { retryable: false, status: 413 },
  /** A queue is full. Nothing was written. */
  OVERLOADED: { retryable: true, status: 503 },
  /** No quorum in reach. Nothing was written. */
  UNAVAILABLE: { retryable: true, status: 503 },
  /** It may or may not have been applied. */
  TIMEOUT_UNKNOWN: { retryable: false, status: 504 },
  /** A bug of ours, or a disk that fails: the log has more. */
  INTERNAL: { retryable: false, status: 500 },
} as const satisfies Record<string, { retryable: boolean; status: number }>

export type ErrorCode = keyof typeof ERROR_CODES

export class KvError extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'KvError'
    this.code = code
  }

  /** True when nothing was done and the same request may succeed later or at another peer. */
  get retryable(): boolean {
    return ERROR_CODES[this.code].retryable
  }
}

export function isErrorCode(text: unknown): text is ErrorCode {
  return typeof text === 'string' && Object.hasOwn(ERROR_CODES, text)
}

/** What was thrown, as a KvError: itself, or INTERNAL with the original as its cause. */
export function toKvError(thrown: unknown): KvError {
  if (thrown instanceof KvError) return thrown
  const text = thrown instanceof Error ? thrown.message : String(thrown)
  return new KvError('INTERNAL', text, { cause: thrown })
}
