/**
 * Bugs that the simulator must find: exact pieces of the source and what a careless hand would have written
 * instead.
 */

export interface Edit {
  /** Under the project's root. */
  readonly file: string
  /** Occurs exactly once. */
  readonly text: string
  readonly instead: string
}

export interface Mutant {
  readonly name: string
  readonly edits: readonly Edit[]
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'acknowledge before fsync',
    edits: [
      {
        file: 'src/store/group-commit.ts',
        text: '    batch.startedMs = this.#clock.monotonic()\n',
        instead: '    batch.startedMs = this.#clock.monotonic()\n    this.#tell(batch, null)\n',
      },
      {
        file: 'src/store/group-commit.ts',
        text: ' // Before the callers hear: the disk works while they do.\n    this.#tell(batch, null)\n',
        instead: '\n',
      },
    ],
  },
  {
    name: 'W counted one too low',
    edits: [
      {
        file: 'src/coordinator/replication.ts',
        text: 'ring.needed(this.#task.level, owners.length)',
        instead: 'Math.max(1, ring.needed(this.#task.level, owners.length) - 1)',
      },
    ],
  },
  {
    name: 'a context ignored on put',
    edits: [
      {
        file: 'src/coordinator/write.ts',
        text: 'this.#mintOver(decodeContext(context, this.#seed))',
        instead: 'this.#mintOver((decodeContext(context, this.#seed), EMPTY_DOTS))',
      },
    ],
  },
]
