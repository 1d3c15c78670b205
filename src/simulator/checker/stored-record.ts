/** What a write to a peer's database says about a key: the store's own codecs, read from outside. */
import type { Bytes } from '../../base/bytes.ts'
import type { KeyspaceId } from '../../base/ids.ts'
import type { KeyRecord } from '../../protocol/record.ts'
import { KIND, keyspaceOf, userKey } from '../../store/keys.ts'
import { decodeRecord } from '../../store/record-codec.ts'

export interface StoredRecord {
  readonly keyspaceId: KeyspaceId
  readonly key: Bytes
  readonly record: KeyRecord
}

/** Null when it is not a record. @throws MalformedRecord */
export function decodeStored(databaseKey: Bytes, value: Bytes): StoredRecord | null {
  if (databaseKey[0] !== KIND.record) return null
  const key = userKey(databaseKey)
  return { keyspaceId: keyspaceOf(databaseKey), key, record: decodeRecord(key, value) }
}
