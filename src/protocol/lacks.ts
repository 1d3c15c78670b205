/**
 * What a member says that it lacks of what it owns: partitions that it may have acknowledged writes of and
 * does not hold, or that its disk does not give. One bit for each partition, by keyspace.
 */
import type { Bytes } from '../base/bytes.ts'
import type { KeyspaceId } from '../base/ids.ts'

/** Bits of partitions; of a keyspace that is not in it nothing is lacking. */
export type Lacks = ReadonlyMap<KeyspaceId, Bytes>

export const LACKS_NOTHING: Lacks = new Map()

/** @param isLacking of each partition; called once for each */
export function bitsOf(partitionCount: number, isLacking: (partition: number) => boolean): Bytes {
  const bits = new Uint8Array(Math.ceil(partitionCount / 8))
  for (let partition = 0; partition < partitionCount; partition++) {
    if (isLacking(partition)) bits[partition >> 3] = (bits[partition >> 3] as number) | (1 << (partition & 7))
  }
  return bits
}

/** What the bits do not reach to is not lacking. */
export function isLacking(lacks: Lacks, keyspaceId: KeyspaceId, partition: number): boolean {
  const byte = lacks.get(keyspaceId)?.[partition >> 3] ?? 0
  return ((byte >> (partition & 7)) & 1) === 1
}
