/** What a file system says when it will not, for people. */
import { KvError } from '../base/error.ts'

/** abstract-level wraps the reason why a database does not open. */
export function causeOf(error: unknown): NodeJS.ErrnoException {
  const wrapped = error as NodeJS.ErrnoException
  return (wrapped.cause ?? wrapped) as NodeJS.ErrnoException
}

const REFUSALS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOTDIR: 'it is not a directory',
  EEXIST: 'it is not a directory',
  EISDIR: 'a directory is where a file should be',
  ENOENT: 'nothing can be made there',
  ENAMETOOLONG: 'the name is too long',
}

/** Throws what `failure` makes of it. */
export function fail(what: string, error: unknown): never {
  throw failure(what, error)
}

/** What the file system said, with what a person can do about it. */
export function failure(what: string, error: unknown): KvError {
  if (error instanceof KvError) return error
  const cause = causeOf(error)
  const refusal = REFUSALS[cause.code ?? '']
  if (refusal !== undefined) return new KvError('INVALID_ARGUMENT', `${what}: ${refusal}`, { cause })
  if (cause.code === 'ENOSPC' || cause.code === 'EDQUOT' || /No space left/.test(cause.message)) {
    return new KvError('INTERNAL', `${what}: the disk is full`, { cause })
  }
  if (/Permission denied/.test(cause.message)) {
    return new KvError('INVALID_ARGUMENT', `${what}: permission denied`, { cause })
  }
  return new KvError('INTERNAL', `${what}: ${cause.message}`, { cause })
}
