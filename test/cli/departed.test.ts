import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type NodeId, parseClusterId, parseNodeId } from '../../src/base/ids.ts'
import { findDeparted, knowsThatItDeparted } from '../../src/cli/kvnode/departed.ts'
import { CONFIGURATION_FILE, savedConfigurationCodec } from '../../src/cluster/configuration-adoption.ts'
import { TwinFile } from '../../src/cluster/twin-file.ts'
import { encodeIdentity, IDENTITY_FILE } from '../../src/node/identity.ts'
import { createLog } from '../../src/platform/log.ts'
import { firstConfiguration } from '../../src/protocol/configuration-change.ts'
import { encodeConfiguration } from '../../src/wire/configuration-codec.ts'
import { pack } from '../../src/wire/msgpack.ts'
import { scratchDirectory } from '../processes/peers.ts'

const test = suite('departed peers')
const scratch = scratchDirectory()
const log = await createLog({ level: 'silent' })
const clusterId = parseClusterId('cluster')

/** A data directory with what a peer had when it stopped. */
async function stopped(name: string, removed: readonly string[]): Promise<string> {
  const dataDir = join(scratch, name)
  mkdirSync(dataDir)
  const storage = {
    readFile: async (file: string) => readFileSync(join(dataDir, file)),
    writeFile: async (file: string, bytes: Uint8Array) => writeFileSync(join(dataDir, file), bytes),
  }
  const nodeId = idOf(name)
  const saved = { nodeId, clusterId, generation: 1, bootNonce: null, storeId: null, hasLeft: null }
  await new TwinFile(storage, log, IDENTITY_FILE).write(encodeIdentity(saved))
  const member = { nodeId: idOf('founder'), zone: '', weight: 100 }
  const founded = firstConfiguration({ clusterId, member, acceptorId: 'a', partitionCount: 64, nowMs: 0 })
  const configuration = encodeConfiguration({ ...founded, number: 2, removed: removed.map(idOf).sort() })
  const payload = pack(savedConfigurationCodec.encode({ configuration }))
  await new TwinFile(storage, log, CONFIGURATION_FILE).write(payload)
  return dataDir
}

function idOf(name: string): NodeId {
  return parseNodeId(name)
}

test('a peer that was removed while it was down is known by what another one has', async () => {
  const dataDirs = [await stopped('a', ['b']), await stopped('b', []), join(scratch, 'never-started')]
  assert.equal([...findDeparted(dataDirs)], [dataDirs[1]])
  assert.is(knowsThatItDeparted(dataDirs[1] as string), false)
})

test('a peer that alone knows that it left is to tell the others, and is none to be left out', async () => {
  const dataDirs = [await stopped('c', []), await stopped('d', ['d'])]
  assert.is(findDeparted(dataDirs).size, 0)
  assert.ok(knowsThatItDeparted(dataDirs[1] as string))
})

test('one sound copy of a file is enough, and of a damaged directory nothing is said', async () => {
  const dataDirs = [await stopped('e', ['f']), await stopped('f', ['f'])]
  for (const dataDir of dataDirs) writeFileSync(join(dataDir, CONFIGURATION_FILE), 'damaged')
  assert.equal([...findDeparted(dataDirs)], [dataDirs[1]])
  for (const dataDir of dataDirs) writeFileSync(join(dataDir, `${CONFIGURATION_FILE}.copy`), 'damaged')
  assert.is(findDeparted(dataDirs).size, 0)
  assert.is(knowsThatItDeparted(dataDirs[1] as string), false)
})

test.run()
