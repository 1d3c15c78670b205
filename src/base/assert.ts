/** Checks of our own reasoning. They stay on in production: a peer that knows it is wrong must not go on. */

export class AssertionError extends Error {
  constructor(claim: string) {
    super(`assertion failed: ${claim}`)
    this.name = 'AssertionError'
  }
}

/** One claim a call; `claim` says in words what was to hold. */
export function assert(condition: boolean, claim: string): asserts condition {
  if (!condition) throw new AssertionError(claim)
}

/** The value, which our own logic says is there. */
export function present<T>(value: T | null | undefined, claim: string): T {
  if (value === null || value === undefined) throw new AssertionError(claim)
  return value
}

/** Ends a `switch` over a discriminated union: a new member makes the compiler point here. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable case ${JSON.stringify(value)}`)
}
