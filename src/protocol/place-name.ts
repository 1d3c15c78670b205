/** A partition of a keyspace, as the key of a map. */
import type { KeyspaceId } from '../base/ids.ts'

export function placeName(keyspaceId: KeyspaceId, partition: number): string {
  return `${keyspaceId}/${partition}`
}
