/**
 * Puts aside what a disk still gives back of leaves that it lost records of.
 *
 * Intuition: a leaf that is not what was written may hold a record of an older time, and its key may have
 * been purged since: then nobody else knows that it was deleted. So all of the leaf goes into quarantine, and
 * what other owners hold comes back from there when they are compared (`quarantine.ts`). Leaves that are as
 * they were written stay.
 *
 * Invariants: from the loss to the end of this no request reads or writes a key of these leaves. What is put
 * aside was acknowledged before the fence that follows, so nobody counts it after that. Trees and counts hear
 * of every record that goes.
 */
import { type Bytes, copyBytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import { hash32 } from '../base/hash.ts'
import type { KeyspaceId } from '../base/ids.ts'
import type { Database } from '../effects/storage.ts'
import { LEAF_BITS, sliceOf } from '../protocol/hash-tree.ts'
import type { LostLeaves } from './completeness.ts'
import type { CommitOperation, GroupCommit } from './group-commit.ts'
import { KIND, partitionRange, userKey } from './keys.ts'
import type { Quarantine } from './quarantine.ts'
import type { RecordWriter } from './record-writer.ts'
import { isSound } from './tree-rebuild.ts'

/** Read at a time, whichever is less. */
const CHUNK_KEYS = 500
const CHUNK_BYTES = 128 * 1024

/** What the store does for it. */
export interface SuspectsHost {
  /** @throws UNAVAILABLE while it is not open */
  database(): Database
  /** @throws as `RecordWriterHost.admit` */
  admit(keyspaceId: KeyspaceId, sizeBytes: number): void
  readonly commit: Pick<GroupCommit<CommitOperation>, 'add' | 'barrier'>
  readonly writer: Pick<RecordWriter, 'enqueue'>
  readonly quarantine: Pick<Quarantine, 'unite'>
}

/**
 * May be cut short, and begun again. Damaged records are left to `coordinator/record-rescue.ts`.
 * @returns how many records @throws KvError when the disk fails or has too much to do
 */
export async function putAside(host: SuspectsHost, lost: LostLeaves): Promise<number> {
  const { keyspaceId, partition } = lost
  const leaves = new Set(lost.leaves)
  await host.commit.barrier() // Writes from before the loss; there are no others.
  const range = partitionRange(KIND.record, keyspaceId, partition)
  const options = { ...range, highWaterMarkBytes: CHUNK_BYTES }
  const iterator = host.database().keys(options)
  let count = 0
  try {
    for (;;) {
      const keys = await iterator.nextv(CHUNK_KEYS)
      if (keys.length === 0) return count
      const some = keys.filter((key) => leaves.has(sliceOf(hash32(userKey(key)), LEAF_BITS)))
      count += await move(host, keyspaceId, some)
    }
  } catch (error) {
    if (error instanceof KvError) throw error
    throw new KvError('UNAVAILABLE', "this peer's records cannot be put aside now", { cause: error })
  } finally {
    await iterator.close()
  }
}

async function move(host: SuspectsHost, keyspaceId: KeyspaceId, keys: readonly Bytes[]): Promise<number> {
  if (keys.length === 0) return 0
  host.admit(keyspaceId, 0)
  const database = host.database()
  const moves: Promise<void>[] = []
  for (const databaseKey of keys) {
    const keyHash = hash32(userKey(databaseKey))
    const before = database.getSync(databaseKey)
    if (before === undefined || !isSound(keyHash, before)) continue
    // Into the same batch as the record's end, or one before it.
    const aside = host.quarantine.unite(databaseKey, before)
    host.commit.add({ ...aside.entry, batch: 0 }, true, aside.written, 0)
    const slot = { sync: true, keyHash, databaseKey: copyBytes(databaseKey), pending: null, before }
    const moved = new Promise<void>((resolve, reject) => {
      const done = (error: KvError | null): void => (error === null ? resolve() : reject(error))
      host.writer.enqueue(slot, null, null, done, 0)
    })
    moves.push(moved)
  }
  await Promise.all(moves)
  return moves.length
}
