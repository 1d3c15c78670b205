/** What a write to a peer's database says about a key: the store's own codecs, read from outside. */
import type { Bytes } from '../../base/bytes.ts'
import { hash32 } from '../../base/hash.ts'
import type { KeyspaceId, NodeId } from '../../base/ids.ts'
import type { KeyRecord } from '../../protocol/record.ts'
import { KIND, keyspaceOf, userKey } from '../../store/keys.ts'
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

/** The records that a batch puts into quarantine: what it deletes there is not lost without a trace. */
export function quarantinedKeys(operations: readonly SimOperation[]): readonly StoredKey[] {
  return operations.flatMap(({ type, key }) => {
    if (type !== 'put' || key[0] !== KIND.quarantined) return []
    return [{ keyspaceId: keyspaceOf(key), key: userKey(key) }]
  })
}

/** Of a stand-in record; null when the key is another one's. */
export function standInPlace(databaseKey: Bytes): StoredKey | null {
  if (databaseKey[0] !== KIND.standIn) return null
  return { keyspaceId: keyspaceOf(databaseKey), key: userKey(databaseKey) }
}
