/**
 * What a store leaves behind when it stops in order: who minted and how far, so that the next life goes on,
 * and the counts. The next start takes it away before it mints anything, so that it is believed once. One
 * line of JSON behind its checksum.
 */
import { type Bytes, strictText, utf8 } from '../base/bytes.ts'
import { hashText32 } from '../base/hash.ts'
import { type ActorId, type KeyspaceId, parseActorId, parseStoreId, type StoreId } from '../base/ids.ts'
import type { KeyCountEntries } from './census.ts'

export const CLEAN_STOP_FILE = 'clean-stop'

export interface CleanStop {
  readonly storeId: StoreId
  readonly actor: ActorId
  readonly counter: number
  /** Null: it was not known at the stop. */
  readonly inventory: SavedInventory | null
}

/** What there was on the disk (`inventory.ts`). */
export interface SavedInventory {
  readonly counts: KeyCountEntries
  /** Checksum of the file that holds the hash trees, which are much. */
  readonly trees: string
}

export function encodeCleanStop({ storeId, actor, counter, inventory }: CleanStop): Bytes {
  const counts = inventory?.counts.map(([id, { records, keys, bytes }]) => [id, records, keys, bytes])
  const trees = inventory?.trees
  const body = JSON.stringify({ storeId, actor, counter, counts: counts ?? null, trees: trees ?? null })
  return utf8(`${hashText32(body)} ${body}\n`)
}

/** Null for anything but what `encodeCleanStop` gave: then the stop was not clean. */
export function decodeCleanStop(bytes: Bytes): CleanStop | null {
  const match = /^(\d+) (\{.*\})\n$/.exec(strictText(bytes) ?? '')
  const body = match?.[2]
  if (body === undefined || Number(match?.[1]) !== hashText32(body)) return null
  try {
    const { storeId, actor, counter, counts, trees } = JSON.parse(body)
    const rows = counts as CountRow[] | null
    return {
      storeId: parseStoreId(storeId),
      actor: parseActorId(actor),
      counter: counter as number,
      inventory: rows === null || typeof trees !== 'string' ? null : { counts: countsOf(rows), trees },
    }
  } catch {
    return null // Ours by its checksum, yet not of this form: as good as none.
  }
}

type CountRow = readonly [KeyspaceId, number, number, number]

function countsOf(rows: readonly CountRow[]): KeyCountEntries {
  return rows.map(([id, records, keys, bytes]) => [id, { records, keys, bytes }])
}
