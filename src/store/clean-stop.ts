/**
 * What a store leaves behind when it stops in order: who minted and how far, so that the next life goes on,
 * and what the file beside it says. The next start takes it away before it mints anything, so that it is
 * believed once. One line of JSON behind its checksum.
 */
import { type Bytes, strictText, utf8 } from '../base/bytes.ts'
import { hashText32 } from '../base/hash.ts'
import { type ActorId, parseActorId, parseStoreId, type StoreId } from '../base/ids.ts'
import type { MortalEntries } from './mortal-places.ts'

export const CLEAN_STOP_FILE = 'clean-stop'

export interface CleanStop {
  readonly storeId: StoreId
  readonly actor: ActorId
  readonly counter: number
  /** Checksum of the file that holds hash trees and counts, which are much; null: they were not known. */
  readonly trees: string | null
  /** Where there are records that may be purged some day; null: it was not known. */
  readonly mortal: MortalEntries | null
}

export function encodeCleanStop({ storeId, actor, counter, trees, mortal }: CleanStop): Bytes {
  const body = JSON.stringify({ storeId, actor, counter, trees, mortal })
  return utf8(`${hashText32(body)} ${body}\n`)
}

/** Null for anything but what `encodeCleanStop` gave: then the stop was not clean. */
export function decodeCleanStop(bytes: Bytes): CleanStop | null {
  const match = /^(\d+) (\{.*\})\n$/.exec(strictText(bytes) ?? '')
  const body = match?.[2]
  if (body === undefined || Number(match?.[1]) !== hashText32(body)) return null
  try {
    const { storeId, actor, counter, trees, mortal } = JSON.parse(body)
    return {
      storeId: parseStoreId(storeId),
      actor: parseActorId(actor),
      counter: counter as number,
      trees: typeof trees === 'string' ? trees : null,
      mortal: Array.isArray(mortal) ? mortal : null,
    }
  } catch {
    return null // Ours by its checksum, yet not of this form: as good as none.
  }
}
