/**
 * Whether this disk has all that its peer ever acknowledged, by keyspace and partition.
 *
 * Intuition: a disk that was wiped, brought back from a copy or otherwise lost data has no right to say "not
 * found", for what is missing here may have been acknowledged in its name. It is catching up until it was
 * compared with enough others (`coordinator/catch-up.ts`); until then its new writes count, its answers do
 * not. A disk that turned out to have lost some of its records is catching up with their partitions alone.
 * What it still gives back of the leaves that are wrong is suspect: it may be of an older time, and its key
 * purged since. Nobody reads it, and it is put aside before the fence (`suspects.ts`).
 *
 * Invariant: that it is catching up is on disk before anybody can ask, and stays there until it is over, so
 * that no crash makes a disk complete. Keyspaces that were made after the fence (`protocol/
 * configuration-change.ts`, `readmit`) never had anything to lose here. What is found lost while the peer
 * runs is not complete from that moment on, and noted at once; a crash before that takes with it all that is
 * known of the loss.
 */
import { type Bytes, strictText, utf8 } from '../base/bytes.ts'
import { hashText32 } from '../base/hash.ts'
import type { KeyspaceId, StoreId } from '../base/ids.ts'
import type { Database } from '../effects/storage.ts'
import { LEAF_BITS, sliceOf } from '../protocol/hash-tree.ts'
import type { Committed } from './group-commit.ts'
import type { TreePlace } from './hash-trees.ts'
import { CATCH_UP_KEY, keyspaceOf, partitionOf, STORE_ID_KEY } from './keys.ts'

const SYNC: object = { sync: true }
const NOTHING_LOST = { cause: 'lostRecords', isMoving: false, fence: null } as const

/**
 * Why data is missing: the directory was empty, is a copy from the past, or its database is another one; or
 * the disk gave back less than was written, while the peer was running.
 */
export type LossCause = 'wiped' | 'rolledBack' | 'replaced' | 'lostRecords'

/** From this configuration on nobody counts what the life before acknowledged. */
export interface Fence {
  readonly number: number
  /** Keyspaces with this id and greater ones were made later. */
  readonly nextKeyspaceId: KeyspaceId
}

/** Leaves of a partition's tree whose records the disk does not give back as they were written. */
export interface LostLeaves extends TreePlace {
  readonly leaves: readonly number[]
}

type Partitions = ReadonlyMap<KeyspaceId, ReadonlySet<number>>

interface CatchUp {
  readonly cause: LossCause
  /** What it lacks something of; null: everything. */
  readonly lost: Partitions | null
  /** What was there before is being moved out of the way. */
  readonly isMoving: boolean
  /** Null: none is decided yet. */
  readonly fence: Fence | null
  /** No longer. */
  readonly complete: Partitions
  /** What was found lost and is still to be put aside. */
  readonly suspects: readonly LostLeaves[]
}

/**
 * Puts bytes under `CATCH_UP_KEY`, or takes away what is there; `done` is told when that is on disk.
 * @throws UNAVAILABLE while the database is not open
 */
type Save = (bytes: Bytes | null, done: Committed) => void

export class Completeness {
  readonly #save: Save
  #catchUp: CatchUp | null = null
  /** Found lost, and not yet on disk that it is. */
  #found: LostLeaves[] = []
  #lossCount = 0
  readonly #onLoss: ((place: TreePlace) => void)[] = []
  #changing: Promise<unknown> = Promise.resolve()

  constructor(save: Save) {
    this.#save = save
  }

  /** What the disk says: at the start, and when the database was opened anew. */
  load(database: Database): void {
    const bytes = database.getSync(CATCH_UP_KEY)
    this.#catchUp = bytes === undefined ? null : decode(bytes)
  }

  isComplete(keyspaceId: KeyspaceId, partition: number): boolean {
    if (this.#found.some((place) => place.keyspaceId === keyspaceId && place.partition === partition)) {
      return false
    }
    const catchUp = this.#catchUp
    if (catchUp === null) return true
    if (catchUp.lost !== null && !catchUp.lost.get(keyspaceId)?.has(partition)) return true
    if (catchUp.lost === null && catchUp.fence !== null && keyspaceId >= catchUp.fence.nextKeyspaceId)
      return true
    return catchUp.complete.get(keyspaceId)?.has(partition) ?? false
  }

  /** Null: nothing is missing anywhere. */
  get cause(): LossCause | null {
    return this.#catchUp?.cause ?? (this.#found.length > 0 ? 'lostRecords' : null)
  }

  /** How often records were found lost, since the start. */
  get lossCount(): number {
    return this.#lossCount
  }

  /** Where records are to be put aside: nobody may read them. */
  get suspects(): readonly LostLeaves[] {
    const noted = this.#catchUp?.suspects ?? []
    return this.#found.length === 0 ? noted : [...noted, ...this.#found]
  }

  /** @param keyHash `hash32` of the user's key */
  isSuspect(keyHash: number, databaseKey: Bytes): boolean {
    const { suspects } = this
    if (suspects.length === 0) return false
    const keyspaceId = keyspaceOf(databaseKey)
    const partition = partitionOf(databaseKey)
    const leaf = sliceOf(keyHash, LEAF_BITS)
    return suspects.some(
      (each) => each.keyspaceId === keyspaceId && each.partition === partition && each.leaves.includes(leaf),
    )
  }

  get isMoving(): boolean {
    return this.#catchUp?.isMoving ?? false
  }

  /** Null: none was passed since the last loss. */
  get fence(): Fence | null {
    return this.#found.length > 0 ? null : (this.#catchUp?.fence ?? null)
  }

  /** This life may answer for its node: nobody takes what it says for the word of the life before. */
  get isAdmitted(): boolean {
    return this.#catchUp === null || this.#catchUp.lost !== null || this.#catchUp.fence !== null
  }

  /** From when it fulfils this is another life of the data, of which nothing is complete. */
  async begin(database: Database, cause: LossCause, storeId: StoreId): Promise<void> {
    const nothing = { lost: null, fence: null, complete: new Map(), suspects: [] }
    const catchUp = { cause, isMoving: true, ...nothing }
    const both = database.batch().put(STORE_ID_KEY, utf8(storeId)).put(CATCH_UP_KEY, encode(catchUp))
    await both.write(SYNC)
    this.#catchUp = catchUp
    this.#found = []
  }

  /** @param onLoss called whenever records were found lost, and where */
  watch(onLoss: (place: TreePlace) => void): void {
    this.#onLoss.push(onLoss)
  }

  /** Records of these leaves are gone, or of an older time: from now on their partition is not complete. */
  lose(lost: LostLeaves): void {
    this.#found.push(lost)
    this.#lossCount += 1
    for (const call of this.#onLoss) call(lost)
    this.noteLosses().catch(() => undefined) // It is tried again before anything else is noted.
  }

  /** What was found lost until now is on disk. A fence that was passed before says nothing of it. */
  async noteLosses(): Promise<void> {
    const found = this.#found
    if (found.length === 0) return
    await this.#change((before) => {
      const catchUp: CatchUp = before ?? {
        ...NOTHING_LOST,
        lost: new Map(),
        complete: new Map(),
        suspects: [],
      }
      const lost = catchUp.lost === null ? null : withPlaces(catchUp.lost, found)
      const complete = withoutPlaces(catchUp.complete, found)
      const fresh = found.filter((each) => !catchUp.suspects.includes(each)) // It may be noted twice.
      return { ...catchUp, lost, complete, fence: null, suspects: [...catchUp.suspects, ...fresh] }
    })
    this.#found = this.#found.filter((place) => !found.includes(place))
  }

  /** These are suspects no longer: what was there is out of the way, or nobody could say more of it. */
  cleared(some: readonly LostLeaves[]): Promise<void> {
    return this.#change((catchUp) => {
      if (catchUp === null) return null
      return { ...catchUp, suspects: catchUp.suspects.filter((each) => !some.includes(each)) }
    })
  }

  /** What was there before is out of the way. @throws as all below: KvError when the disk fails */
  moved(): Promise<void> {
    return this.#change((catchUp) => catchUp && { ...catchUp, isMoving: false })
  }

  passFence(fence: Fence): Promise<void> {
    return this.#change((catchUp) => catchUp && { ...catchUp, fence })
  }

  /** These partitions lack nothing any more. */
  complete(keyspaceId: KeyspaceId, partitions: readonly number[]): Promise<void> {
    return this.#change((catchUp) => {
      if (catchUp === null) return null
      const before = catchUp.complete.get(keyspaceId) ?? []
      const complete = new Map(catchUp.complete).set(keyspaceId, new Set([...before, ...partitions]))
      return { ...catchUp, complete }
    })
  }

  /** Nothing is missing anywhere, but for what was found lost and is not noted, or not put aside yet. */
  end(): Promise<void> {
    return this.#change((catchUp) => (catchUp !== null && catchUp.suspects.length > 0 ? catchUp : null))
  }

  /** One after the other. */
  #change(next: (catchUp: CatchUp | null) => CatchUp | null): Promise<void> {
    const change = this.#changing.then(() => this.#write(next(this.#catchUp)))
    this.#changing = change.catch(() => undefined) // Whoever wanted it is told.
    return change
  }

  async #write(catchUp: CatchUp | null): Promise<void> {
    if (catchUp === this.#catchUp) return
    const bytes = catchUp === null ? null : encode(catchUp)
    await new Promise<void>((resolve, reject) => {
      this.#save(bytes, (error) => (error === null ? resolve() : reject(error)))
    })
    this.#catchUp = catchUp
  }
}

/** One line of JSON behind its checksum. */
function encode({ cause, lost, isMoving, fence, complete, suspects }: CatchUp): Bytes {
  const rows = { lost: lost && rowsOf(lost), complete: rowsOf(complete), suspects }
  const body = JSON.stringify({ cause, isMoving, fence, ...rows })
  return utf8(`${hashText32(body)} ${body}\n`)
}

/** What cannot be read says that nothing is complete. */
function decode(bytes: Bytes): CatchUp {
  const none = { lost: null, fence: null, complete: new Map(), suspects: [] }
  const nothing = { cause: 'replaced', isMoving: true, ...none } as const
  const match = /^(\d+) (\{.*\})\n$/.exec(strictText(bytes) ?? '')
  const body = match?.[2]
  if (body === undefined || Number(match?.[1]) !== hashText32(body)) return nothing
  const { cause, lost, isMoving, fence, complete, suspects } = JSON.parse(body) // Ours by its checksum.
  // Notes of earlier versions were always about everything, and had put that aside.
  const rest = { lost: lost ? placesOf(lost) : null, complete: placesOf(complete), suspects: suspects ?? [] }
  return { cause, isMoving, fence, ...rest }
}

type Row = readonly [KeyspaceId, readonly number[]]

function rowsOf(places: Partitions): Row[] {
  return [...places].map(([id, partitions]) => [id, [...partitions]])
}

function placesOf(rows: readonly Row[]): Partitions {
  return new Map(rows.map(([id, some]) => [id, new Set(some)]))
}

function withPlaces(partitions: Partitions, places: readonly TreePlace[]): Partitions {
  const all = new Map(partitions)
  for (const { keyspaceId: id, partition } of places) all.set(id, new Set(all.get(id)).add(partition))
  return all
}

function withoutPlaces(partitions: Partitions, places: readonly TreePlace[]): Partitions {
  const isGone = (id: KeyspaceId, partition: number): boolean =>
    places.some((place) => place.keyspaceId === id && place.partition === partition)
  return new Map(
    [...partitions].map(([id, some]) => [id, new Set([...some].filter((each) => !isGone(id, each)))]),
  )
}
