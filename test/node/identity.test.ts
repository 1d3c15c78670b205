import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { KvError } from '../../src/base/error.ts'
import { parseClusterId, parseStoreId } from '../../src/base/ids.ts'
import { CONFIGURATION_FILE } from '../../src/cluster/configuration-adoption.ts'
import { IDENTITY_FILE, Identity } from '../../src/node/identity.ts'
import { NodeWorld } from './node-world.ts'

const STORE_ID = parseStoreId('store')
const test = suite('identity')

const COPY = `${IDENTITY_FILE}.copy`
const DAMAGED = Uint8Array.of(1, 2, 3)
const host = '10.0.0.1'

async function begun(loading: Promise<Identity>): Promise<Identity> {
  const identity = await loading
  await identity.begin(STORE_ID)
  return identity
}

function load(world: NodeWorld): Promise<Identity> {
  return world.settle(begun(Identity.load(world.boot(1))))
}

/** The power goes, and comes back. */
function restart(world: NodeWorld): Promise<Identity> {
  world.sim.host(host).end('power')
  return load(world)
}

function damage(world: NodeWorld, ...files: readonly string[]): void {
  world.sim.host(host).end('power')
  for (const file of files) world.sim.host(host).disk.setFile(file, DAMAGED)
}

test('an empty directory gets a name, its first generation, and no cluster', async () => {
  const identity = await load(new NodeWorld())
  assert.is(identity.nodeId.length, 21)
  assert.is(identity.generation, 1)
  assert.is(identity.clusterId, null)
})

test('the name stays for as long as the directory, the generation rises with every start', async () => {
  const world = new NodeWorld()
  const first = await load(world)
  const second = await restart(world)
  const third = await restart(world)
  assert.is(second.nodeId, first.nodeId)
  assert.equal([second.generation, third.generation], [2, 3])
  assert.is(new Set([first, second, third].map(({ bootNonce }) => bootNonce)).size, 3)
})

test('a generation is on disk before anyone hears of it', async () => {
  const world = new NodeWorld()
  await load(world)
  const before = world.sim.host(host).disk.image().files.get(IDENTITY_FILE)
  const again = await restart(world)
  const after = world.sim.host(host).disk.image().files.get(IDENTITY_FILE)
  assert.is(again.generation, 2)
  assert.is.not(after?.join(), before?.join())
})

test('a start that does not begin leaves no trace; one that does is known by its nonce', async () => {
  const world = new NodeWorld()
  const first = await load(world)
  world.sim.host(host).end('power')
  const refused = await world.settle(Identity.load(world.boot(1)))
  const second = await restart(world)
  assert.equal([refused.generation, second.generation], [2, 2])
  for (const { last } of [refused, second]) assert.is(last?.bootNonce, first.bootNonce)
  assert.is(first.last, null)
})

test('a directory from the past goes on above the lives that it does not know', async () => {
  const world = new NodeWorld()
  await load(world)
  world.sim.host(host).end('power')
  const identity = await world.settle(Identity.load(world.boot(1)))
  identity.outrank(7)
  identity.outrank(3)
  await world.settle(identity.begin(STORE_ID))
  assert.equal([identity.generation, (await restart(world)).generation], [8, 9])
})

test('the cluster it joined is remembered', async () => {
  const world = new NodeWorld()
  const identity = await load(world)
  const clusterId = parseClusterId('c1')
  await world.settle(identity.joinCluster(clusterId))
  assert.is(identity.clusterId, clusterId)
  assert.is((await restart(world)).clusterId, clusterId)
})

test('one damaged copy is mended from the other', async () => {
  const world = new NodeWorld()
  const first = await load(world)
  for (const file of [IDENTITY_FILE, COPY]) {
    damage(world, file)
    assert.is((await load(world)).nodeId, first.nodeId)
  }
  assert.ok(world.logged.includes('twin_file.damaged'))
})

test('with both copies damaged a member does not start under another name', async () => {
  const world = new NodeWorld()
  await load(world)
  damage(world, IDENTITY_FILE, COPY, CONFIGURATION_FILE)
  let thrown: unknown = null
  await load(world).catch((error: unknown) => {
    thrown = error
  })
  assert.ok(thrown instanceof KvError && thrown.code === 'INTERNAL')
  assert.match(
    (thrown as KvError).message,
    /both copies of 'identity' .* are damaged; move the directory away/,
  )
})

test('with both copies damaged a directory that was in no cluster begins anew', async () => {
  const world = new NodeWorld()
  const first = await load(world)
  damage(world, IDENTITY_FILE, COPY)
  const second = await load(world)
  assert.is.not(second.nodeId, first.nodeId)
  assert.is(second.generation, 1)
})

test('a crash at any moment of a start never takes the name or the generation back', async () => {
  for (let crashAfterMs = 0; crashAfterMs < 14; crashAfterMs += 0.5) {
    const world = new NodeWorld(crashAfterMs)
    const first = await load(world)
    world.sim.host(host).end('power')
    void begun(Identity.load(world.boot(1))).catch(() => undefined)
    await world.pass(crashAfterMs)
    const last = await restart(world)
    assert.is(last.nodeId, first.nodeId)
    assert.ok(last.generation >= 2 && last.generation <= 3, `${last.generation} after ${crashAfterMs} ms`)
  }
})

test.run()
