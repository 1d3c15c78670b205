/** What a write to a peer's database says about a key: the store's own codecs, read from outside. */
import type { Bytes } from '../../base/bytes.ts'
import { hash32 } from '../../base/hash.ts'
import type { KeyspaceId, NodeId } from '../../base/ids.ts'
import type { KeyRecord } from '../../protocol/record.ts'
import { KIND, keyspaceOf, userKey, withKind } from '../../store/keys.ts'
import { decodeRecord } from '../../store/record-codec.ts'
import { decodeStandIn } from '../../store/stand-in-codec.ts'
import type { SimOperation } from '../sim-database.ts'

export interface StoredRecord {
  readonly keyspaceId: KeyspaceId
  readonly key: Bytes
  readonly record: KeyRecord
  /** It is kept for owners that were away. */
  readonly isStandIn: boolean
  /** Those owners; empty when it is a record of its own. */
  readonly standInFor: readonly NodeId[]
}

export interface StoredKey {
  readonly keyspaceId: KeyspaceId
  readonly key: Bytes
}

/** Null when it is not a record. @throws MalformedRecord */
export function decodeStored(databaseKey: Bytes, value: Bytes): StoredRecord | null {
  const isStandIn = databaseKey[0] === KIND.standIn
  if (databaseKey[0] !== KIND.record && !isStandIn) return null
  const key = userKey(databaseKey)
  const keyspaceId = keyspaceOf(databaseKey)
  if (!isStandIn) return { keyspaceId, key, record: decodeRecord(key, value), isStandIn, standInFor: [] }
  const { targets, record } = decodeStandIn(hash32(key), value)
  return { keyspaceId, key, record: decodeRecord(key, record), isStandIn, standInFor: targets }
}

/** A record or a stand-in record that a batch deletes. */
export interface RemovedKey extends StoredKey {
  readonly isStandIn: boolean
  /** The same batch puts it into quarantine: it is not gone, but says nothing from here on. */
  readonly isPutAside: boolean
}

const NOTHING: readonly RemovedKey[] = []

export function removedKeys(operations: readonly SimOperation[]): readonly RemovedKey[] {
  if (!operations.some(({ type, key }) => type === 'del' && storedKey(key) !== null)) return NOTHING
  const aside = new Set(operations.flatMap(({ type, key }) => (type === 'put' ? [keyName(key)] : [])))
  return operations.flatMap(({ type, key }) => {
    const stored = type === 'del' ? storedKey(key) : null
    if (stored === null) return []
    const place = withKind(stored.isStandIn ? KIND.quarantinedStandIn : KIND.quarantined, key)
    return [{ ...stored, isPutAside: aside.has(keyName(place)) }]
  })
}

/** Of a record or a stand-in record; null when the key is another one's. */
export function storedKey(databaseKey: Bytes): Pick<StoredRecord, keyof StoredKey | 'isStandIn'> | null {
  const isStandIn = databaseKey[0] === KIND.standIn
  if (databaseKey[0] !== KIND.record && !isStandIn) return null
  return { keyspaceId: keyspaceOf(databaseKey), key: userKey(databaseKey), isStandIn }
}

function keyName(databaseKey: Bytes): string {
  return databaseKey.join()
}
