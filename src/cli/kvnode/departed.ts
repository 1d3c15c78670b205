/**
 * Which peer is no member of its cluster any more: it left, or was removed, for good. The peers of a local
 * cluster tell it of each other, by what is on their disks while none of them runs: one that was
 * removed while it was down does not know it itself.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Bytes } from '../../base/bytes.ts'
import type { Address, NodeId } from '../../base/ids.ts'
import { CONFIGURATION_FILE, savedConfigurationCodec } from '../../cluster/configuration-adoption.ts'
import { newestCopy, twinNames } from '../../cluster/twin-file.ts'
import { decodeIdentity, IDENTITY_FILE } from '../../node/identity.ts'
import { decodeConfiguration } from '../../wire/configuration-codec.ts'
import { unpack } from '../../wire/msgpack.ts'

/**
 * Of these data directories those of peers that are members no more, as another one of them knows. Who knows
 * it alone has to be started: it stopped before it told the others, and these would wait for it.
 */
export function findDeparted(dataDirs: readonly string[]): ReadonlySet<string> {
  const removedBy = dataDirs.map(removedAsOf)
  const isDeparted = (dataDir: string, index: number): boolean => {
    if (removedBy.every((removed) => removed.length === 0)) return false
    const nodeId = nodeIdOf(dataDir)
    return nodeId !== null && removedBy.some((removed, other) => other !== index && removed.includes(nodeId))
  }
  return new Set(dataDirs.filter(isDeparted))
}

/** Whether the peer of this data directory knows that it is no member any more. */
export function knowsThatItDeparted(dataDir: string): boolean {
  const nodeId = nodeIdOf(dataDir)
  return nodeId !== null && removedAsOf(dataDir).includes(nodeId)
}

export function tellWhoDeparted({ address, dataDir }: { address: Address; dataDir: string }): void {
  const what = `${address} is no member of its cluster any more (it left, or was removed), and is left out`
  const advice = `with its data directory ${dataDir} moved away it joins as a new peer`
  process.stderr.write(`${what}; ${advice}\n`)
}

function removedAsOf(dataDir: string): readonly NodeId[] {
  return (
    decoded(dataDir, CONFIGURATION_FILE, (payload) => {
      const { configuration } = savedConfigurationCodec.decode(unpack(payload))
      return decodeConfiguration(configuration).removed
    }) ?? []
  )
}

function nodeIdOf(dataDir: string): NodeId | null {
  return decoded(dataDir, IDENTITY_FILE, (payload) => decodeIdentity(payload, dataDir).nodeId)
}

/** Null: it is not there, or damaged: the peer itself says so when it starts. */
function decoded<T>(dataDir: string, name: string, decode: (payload: Bytes) => T): T | null {
  try {
    const copies = twinNames(name).flatMap((file) => {
      const path = join(dataDir, file)
      return existsSync(path) ? [readFileSync(path)] : []
    })
    const newest = newestCopy(name, copies)
    return newest === null ? null : decode(newest.payload)
  } catch {
    return null // Whoever starts that peer is told.
  }
}
