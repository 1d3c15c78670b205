/** Errors as HTTP shows them: problem details (RFC 9457) with our stable `code` and `retryable`. */
import { ERROR_CODES, type ErrorCode, type KvError } from '../base/error.ts'

export const PROBLEM_CONTENT_TYPE = 'application/problem+json'

export interface Problem {
  readonly type: 'about:blank'
  /** Short, the same for every problem of this code. */
  readonly title: string
  readonly status: number
  /** What happened, and what to do. */
  readonly detail: string
  readonly code: ErrorCode
  readonly retryable: boolean
}

/** @param status when HTTP has a more fitting one than the code's own */
export function makeProblem(
  code: ErrorCode,
  detail: string,
  status: number = ERROR_CODES[code].status,
): Problem {
  const title = code.charAt(0) + code.slice(1).toLowerCase().replaceAll('_', ' ')
  return { type: 'about:blank', title, status, detail, code, retryable: ERROR_CODES[code].retryable }
}

export function problemOf(error: KvError): Problem {
  return makeProblem(error.code, error.message)
}
