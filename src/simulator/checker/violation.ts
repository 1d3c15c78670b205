/** An invariant (by its number in the list that `checker/` implements) was broken. */
export class Violation extends Error {
  readonly invariant: number

  constructor(invariant: number, message: string) {
    super(`invariant ${invariant}: ${message}`)
    this.name = 'Violation'
    this.invariant = invariant
  }
}
