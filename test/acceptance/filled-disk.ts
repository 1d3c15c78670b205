/**
 * Fills the disks of peers with records, as if they had been written long ago, and takes away the marker of
 * their clean stop: so the next start is one after an unclean stop.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { connect } from '../../src/api/connect.ts'
import { type Bytes, utf8 } from '../../src/base/bytes.ts'
import type { ActorId, KeyspaceId } from '../../src/base/ids.ts'
import { openLevelStorage } from '../../src/platform/level-storage.ts'
import { partitionOf } from '../../src/protocol/ring.ts'
import { CLEAN_STOP_FILE } from '../../src/store/clean-stop.ts'
import { recordKey } from '../../src/store/keys.ts'
import { encodeRecord } from '../../src/store/record-codec.ts'
import type { PeerProcess } from '../processes/peers.ts'

const ACTOR = 'aaaaaaaaaaaaaaaa' as ActorId
const VALUE_BYTES = 100
const BATCH = 2000

interface Filling {
  readonly keyspaceId: KeyspaceId
  readonly partitionCount: number
  readonly count: number
  /** Of which keys this disk has an older record than another one, made with the same `count`. */
  isBehind(i: number): boolean
}

/**
 * The disks of peers that run, instead of what is on them. Ends the peers.
 * @param behind for each peer: of which keys it has an older record than the others
 * @returns about how many bytes a record and its key have
 */
export async function refill(
  peers: readonly PeerProcess[],
  keyspace: string,
  count: number,
  behind: readonly ((i: number) => boolean)[],
): Promise<number> {
  const client = await connect((peers[0] as PeerProcess).address)
  const { partitionCount } = await client.service.ring()
  const keyspaceId = (await client.service.keyspaces()).find(({ name }) => name === keyspace)?.id
  client.close()
  if (keyspaceId === undefined) throw new Error(`there is no keyspace ${keyspace}`)
  await Promise.all(peers.map((peer) => peer.end('SIGTERM')))
  let recordBytes = 0
  for (const [i, { dataDir }] of peers.entries()) {
    const isBehind = behind[i] as (i: number) => boolean
    recordBytes = await fillDisk(dataDir, { keyspaceId, partitionCount, count, isBehind })
  }
  return recordBytes
}

/** @returns about how many bytes a record and its key have */
async function fillDisk(dataDir: string, filling: Filling): Promise<number> {
  const { keyspaceId, partitionCount, count, isBehind } = filling
  const storage = await openLevelStorage(dataDir)
  const database = await storage.openDatabase()
  let bytes = 0
  for (let i = 0; i < count; ) {
    const batch = database.batch()
    for (const end = Math.min(count, i + BATCH); i < end; i++) {
      const key = utf8(`user:${String(i).padStart(8, '0')}`)
      const record = recordOf(key, isBehind(i) ? i + 1 : count + i + 1)
      bytes += key.length + record.length
      batch.put(recordKey(keyspaceId, partitionOf(key, partitionCount), key), record)
    }
    await batch.write()
  }
  await database.close()
  await storage.close()
  await rm(join(dataDir, CLEAN_STOP_FILE), { force: true })
  return bytes / count
}

function recordOf(key: Bytes, n: number): Bytes {
  const dot = { actor: ACTOR, n }
  const value = new Uint8Array(VALUE_BYTES).fill(n)
  const fields = { contentType: null, writeId: 'V1StGXR8_Z5jdHi6B-myT', expiresAtMs: null }
  return encodeRecord(key, {
    seen: { vector: new Map([[ACTOR, n]]), loose: [] },
    values: [{ dot, value, timestamp: 1.6e15 + n, ...fields }],
  })
}
