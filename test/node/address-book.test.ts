import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { makeAddress, parseNodeId } from '../../src/base/ids.ts'
import { TwinFile } from '../../src/cluster/twin-file.ts'
import type { Effects } from '../../src/effects/effects.ts'
import { ADDRESSES_FILE, AddressBook } from '../../src/node/address-book.ts'
import { MAX_MEMBERS } from '../../src/protocol/configuration.ts'
import { NodeWorld } from './node-world.ts'

const test = suite('address book')

const [A, B] = [parseNodeId('a'), parseNodeId('b')]
const at = (port: number) => makeAddress('10.0.0.9', port)
const life = (port: number, generation = 1, bootNonce = 'boot') => ({
  address: at(port),
  generation,
  bootNonce,
})
const host = '10.0.0.1'

async function open(world: NodeWorld, effects: Effects = world.boot(1)): Promise<AddressBook> {
  const book = new AddressBook(effects)
  await world.settle(book.load())
  return book
}

/** With the number of files that it wrote so far. */
async function openCounted(
  world: NodeWorld,
): Promise<{ readonly book: AddressBook; readonly written: () => number }> {
  const effects = world.boot(1)
  let writes = 0
  const storage = Object.create(effects.storage, {
    writeFile: {
      value: (name: string, bytes: Uint8Array) => {
        writes += 1
        return effects.storage.writeFile(name, bytes)
      },
    },
  }) as Effects['storage']
  return { book: await open(world, { ...effects, storage }), written: () => writes }
}

async function reopened(world: NodeWorld): Promise<AddressBook> {
  world.sim.host(host).end('power')
  return open(world)
}

test('an empty directory knows nobody', async () => {
  assert.equal((await open(new NodeWorld())).entries(), [])
})

test('what is noted is on disk within a second, through a power cut', async () => {
  const world = new NodeWorld()
  const book = await open(world)
  book.note(A, life(1))
  book.note(B, life(2))
  await world.pass(1_000)
  assert.equal((await reopened(world)).entries(), [
    [A, at(1)],
    [B, at(2)],
  ])
})

test('a large book is written less often: it is written whole', async () => {
  const world = new NodeWorld()
  const { book, written } = await openCounted(world)
  for (let i = 0; i < 500; i++) book.note(parseNodeId(`n${i}`), life(i + 1))
  await world.pass(6_000)
  const before = written()
  for (let second = 0; second < 20; second++) {
    book.met(parseNodeId(`n${second}`), life(second + 1, 2))
    await world.pass(1_000)
  }
  const writes = written() - before
  assert.ok(writes > 0 && writes <= 10, `${writes} files written for 20 meetings in 20 seconds`)
})

test('a peer that moved is found where it is now', async () => {
  const world = new NodeWorld()
  const book = await open(world)
  book.note(A, life(1))
  book.note(A, life(2))
  await world.pass(1_000)
  assert.equal((await reopened(world)).entries(), [[A, at(2)]])
})

test('a peer that left for good is forgotten', async () => {
  const world = new NodeWorld()
  const book = await open(world)
  book.note(A, life(1))
  await world.pass(1_000)
  book.forget(A)
  await world.pass(1_000)
  assert.equal((await reopened(world)).entries(), [])
})

test('a stop saves what was noted a moment ago', async () => {
  const world = new NodeWorld()
  const book = await open(world)
  book.note(A, life(1))
  await world.settle(book.stop())
  assert.equal((await reopened(world)).entries(), [[A, at(1)]])
})

test('the newest life of a peer that was met is remembered, whatever is said of it later', async () => {
  const world = new NodeWorld()
  const book = await open(world)
  assert.is(book.lifeOf(A), null)
  book.met(A, life(1, 3, 'third'))
  book.met(A, life(2, 2, 'second'))
  book.note(A, life(2, 2))
  book.note(A, life(1, 0))
  book.note(B, life(1, 9))
  await world.pass(1_000)
  const again = await reopened(world)
  assert.equal(again.lifeOf(A), life(1, 3, 'third'))
  assert.is(again.lifeOf(B), null, 'that life was only heard of')
})

test('where a newer life is said to be is noted, but not that there is one', async () => {
  const world = new NodeWorld()
  const book = await open(world)
  book.met(A, life(1, 3, 'third'))
  book.note(A, life(2, 4))
  await world.settle(book.stop())
  const again = await reopened(world)
  assert.equal(again.lifeOf(A), life(2, 3, 'third'))
  assert.equal(again.entries(), [[A, at(2)]])
})

test('many changes at once are one write', async () => {
  const world = new NodeWorld()
  const { book, written } = await openCounted(world)
  for (let port = 1; port <= 100; port++) book.note(A, life(port))
  book.note(A, life(100))
  await world.pass(1_000)
  assert.is(written(), 2, 'both copies, once')
})

test('a full book takes no strangers, but follows those it knows', async () => {
  const world = new NodeWorld()
  const book = await open(world)
  for (let i = 0; i < MAX_MEMBERS; i++) book.note(parseNodeId(`n${i}`), life(1))
  book.note(A, life(1))
  book.note(parseNodeId('n0'), life(2))
  assert.is(book.entries().length, MAX_MEMBERS)
  assert.equal(book.entries()[0], [parseNodeId('n0'), at(2)])
})

test('a book that cannot be read is begun anew, and that is logged', async () => {
  const world = new NodeWorld()
  const effects = world.boot(1)
  const file = new TwinFile(effects.storage, effects.log, ADDRESSES_FILE)
  await world.settle(file.write(Uint8Array.of(0xc1)))
  assert.equal((await open(world, effects)).entries(), [])
  assert.ok(world.logged.includes('addresses.unreadable'))
})

test('a book that cannot be saved is logged, and saved with the next change', async () => {
  const world = new NodeWorld()
  const effects = world.boot(1)
  let isFull = true
  const storage = Object.create(effects.storage, {
    writeFile: {
      value: async (name: string, bytes: Uint8Array) => {
        if (isFull) throw new Error('ENOSPC')
        await effects.storage.writeFile(name, bytes)
      },
    },
  }) as Effects['storage']
  const book = await open(world, { ...effects, storage })
  book.note(A, life(1))
  await world.pass(1_000)
  assert.ok(world.logged.includes('addresses.unsaved'))
  isFull = false
  book.note(B, life(2))
  await world.pass(1_000)
  assert.is((await reopened(world)).entries().length, 2)
})

test.run()
