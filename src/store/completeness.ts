/**
 * Whether this disk has all that its peer ever acknowledged, by keyspace and partition.
 *
 * Intuition: a disk that was wiped, brought back from a copy or otherwise lost data has no right to say "not
 * found", for what is missing here may have been acknowledged in its name. It is catching up until it was
 * compared with enough others (`coordinator/catch-up.ts`); until then its new writes count, its answers do
 * not.
 *
 * Invariant: that it is catching up is on disk before anybody can ask, and stays there until it is over, so
 * that no crash makes a disk complete. Keyspaces that were made after the fence (`protocol/
 * configuration-change.ts`, `readmit`) never had anything to lose here.
 */
import { type Bytes, strictText, utf8 } from '../base/bytes.ts'
import { hashText32 } from '../base/hash.ts'
import type { KeyspaceId, StoreId } from '../base/ids.ts'
import type { Database } from '../effects/storage.ts'
import type { Committed } from './group-commit.ts'
import { CATCH_UP_KEY, STORE_ID_KEY } from './keys.ts'

const SYNC: object = { sync: true }

/** Why data is missing: the directory was empty, is a copy from the past, or its database is another one. */
export const LOSS_CAUSES = ['wiped', 'rolledBack', 'replaced'] as const
export type LossCause = (typeof LOSS_CAUSES)[number]

/** From this configuration on nobody counts what the life before acknowledged. */
export interface Fence {
  readonly number: number
  /** Keyspaces with this id and greater ones were made later. */
  readonly nextKeyspaceId: KeyspaceId
}

interface CatchUp {
  readonly cause: LossCause
  /** What was there before is being moved out of the way. */
  readonly isMoving: boolean
  /** Null: none is decided yet. */
  readonly fence: Fence | null
  readonly complete: ReadonlyMap<KeyspaceId, ReadonlySet<number>>
}

/**
 * Puts bytes under `CATCH_UP_KEY`, or takes away what is there; `done` is told when that is on disk.
 * @throws UNAVAILABLE while the database is not open
 */
type Save = (bytes: Bytes | null, done: Committed) => void

export class Completeness {
  readonly #save: Save
  #catchUp: CatchUp | null = null

  constructor(save: Save) {
    this.#save = save
  }

  /** What the disk says: at the start, and when the database was opened anew. */
  load(database: Database): void {
    const bytes = database.getSync(CATCH_UP_KEY)
    this.#catchUp = bytes === undefined ? null : decode(bytes)
  }

  isComplete(keyspaceId: KeyspaceId, partition: number): boolean {
    const catchUp = this.#catchUp
    if (catchUp === null) return true
    if (catchUp.fence !== null && keyspaceId >= catchUp.fence.nextKeyspaceId) return true
    return catchUp.complete.get(keyspaceId)?.has(partition) ?? false
  }

  /** Null: nothing is missing anywhere. */
  get cause(): LossCause | null {
    return this.#catchUp?.cause ?? null
  }

  get isMoving(): boolean {
    return this.#catchUp?.isMoving ?? false
  }

  get fence(): Fence | null {
    return this.#catchUp?.fence ?? null
  }

  /** This life may answer for its node: nobody takes what it says for the word of the life before. */
  get isAdmitted(): boolean {
    return this.#catchUp === null || this.#catchUp.fence !== null
  }

  /** From when it fulfils this is another life of the data, of which nothing is complete. */
  async begin(database: Database, cause: LossCause, storeId: StoreId): Promise<void> {
    const catchUp = { cause, isMoving: true, fence: null, complete: new Map() }
    const both = database.batch().put(STORE_ID_KEY, utf8(storeId)).put(CATCH_UP_KEY, encode(catchUp))
    await both.write(SYNC)
    this.#catchUp = catchUp
  }

  /** What was there before is out of the way. @throws as all below: KvError when the disk fails */
  moved(): Promise<void> {
    return this.#change((catchUp) => ({ ...catchUp, isMoving: false }))
  }

  passFence(fence: Fence): Promise<void> {
    return this.#change((catchUp) => ({ ...catchUp, fence }))
  }

  /** These partitions lack nothing any more. */
  complete(keyspaceId: KeyspaceId, partitions: readonly number[]): Promise<void> {
    return this.#change((catchUp) => {
      const before = catchUp.complete.get(keyspaceId) ?? []
      const complete = new Map(catchUp.complete).set(keyspaceId, new Set([...before, ...partitions]))
      return { ...catchUp, complete }
    })
  }

  /** Nothing is missing anywhere. */
  end(): Promise<void> {
    return this.#change(() => null)
  }

  async #change(next: (catchUp: CatchUp) => CatchUp | null): Promise<void> {
    if (this.#catchUp === null) return
    const catchUp = next(this.#catchUp)
    const bytes = catchUp === null ? null : encode(catchUp)
    await new Promise<void>((resolve, reject) => {
      this.#save(bytes, (error) => (error === null ? resolve() : reject(error)))
    })
    this.#catchUp = catchUp
  }
}

/** One line of JSON behind its checksum. */
function encode({ cause, isMoving, fence, complete }: CatchUp): Bytes {
  const rows = [...complete].map(([id, partitions]) => [id, [...partitions]])
  const body = JSON.stringify({ cause, isMoving, fence, complete: rows })
  return utf8(`${hashText32(body)} ${body}\n`)
}

/** What cannot be read says that nothing is complete. */
function decode(bytes: Bytes): CatchUp {
  const nothing = { cause: 'replaced', isMoving: true, fence: null, complete: new Map() } as const
  const match = /^(\d+) (\{.*\})\n$/.exec(strictText(bytes) ?? '')
  const body = match?.[2]
  if (body === undefined || Number(match?.[1]) !== hashText32(body)) return nothing
  const { cause, isMoving, fence, complete } = JSON.parse(body) // Ours by its checksum.
  const rows = complete as readonly (readonly [KeyspaceId, readonly number[]])[]
  return { cause, isMoving, fence, complete: new Map(rows.map(([id, some]) => [id, new Set(some)])) }
}
