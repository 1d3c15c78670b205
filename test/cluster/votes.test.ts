import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Bytes } from '../../src/base/bytes.ts'
import { equalBytes, utf8 } from '../../src/base/bytes.ts'
import { KvError } from '../../src/base/error.ts'
import { parseNodeId } from '../../src/base/ids.ts'
import { TwinFile } from '../../src/cluster/twin-file.ts'
import { Acceptor, decodeVotes, VOTES_FILE } from '../../src/cluster/votes.ts'
import type { Log } from '../../src/effects/log.ts'
import type { Storage } from '../../src/effects/storage.ts'
import type { AcceptorRequest } from '../../src/protocol/synod.ts'

const ignore = (): void => undefined
const log: Log = { debug: ignore, info: ignore, warn: ignore, error: ignore }

/** A directory in memory whose writes wait until they are let through. */
class TestDirectory {
  readonly files = new Map<string, Bytes>()
  readonly waiting: (() => void)[] = []
  isSlow = false
  isBroken = false

  get storage(): Storage {
    const storage: Pick<Storage, 'readFile' | 'writeFile'> = {
      readFile: async (name) => this.files.get(name) ?? null,
      writeFile: async (name, bytes) => {
        if (this.isBroken) throw new KvError('INTERNAL', 'the disk is broken')
        if (this.isSlow) await new Promise<void>((resolve) => this.waiting.push(resolve))
        this.files.set(name, bytes.slice())
      },
    }
    return storage as Storage
  }

  damage(name: string): void {
    const bytes = this.files.get(name)?.slice() as Uint8Array
    bytes[0] = (bytes[0] as number) ^ 1
    this.files.set(name, bytes)
  }
}

let ids = 0
async function open(directory: TestDirectory, isRolledBack = false): Promise<Acceptor> {
  const random = { float: () => 0, bytes: () => new Uint8Array(0), id: () => `id${++ids}` }
  const acceptor = new Acceptor({ storage: directory.storage, random, log })
  await acceptor.load(isRolledBack)
  return acceptor
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const standing = () => ({ decided: 1, named: true })
const ballot = (round: number) => ({ round, nodeId: parseNodeId('p'), bootNonce: 'boot' })
const prepare = (round: number): AcceptorRequest => ({ type: 'prepare', number: 2, ballot: ballot(round) })
const vote = (round: number): AcceptorRequest => ({
  type: 'vote',
  number: 2,
  ballot: ballot(round),
  value: utf8('v'),
})

const twins = suite('twin file')

twins('gives back what was written last, from either copy', async () => {
  const directory = new TestDirectory()
  const file = new TwinFile(directory.storage, log, 'f')
  assert.is(await file.read(), null)
  await file.write(utf8('one'))
  await file.write(utf8('two'))
  for (const name of ['f', 'f.copy']) {
    directory.damage(name)
    const found = await new TwinFile(directory.storage, log, 'f').read()
    assert.ok(found !== null && equalBytes(found, utf8('two')))
    const copies = [...directory.files.values()] as [Bytes, Bytes]
    assert.ok(equalBytes(...copies), 'the damaged copy was mended')
  }
})

twins('a crash between the copies leaves the newer one', async () => {
  const directory = new TestDirectory()
  const file = new TwinFile(directory.storage, log, 'f')
  await file.write(utf8('one'))
  const old = directory.files.get('f.copy') as Bytes
  await file.write(utf8('two'))
  directory.files.set('f.copy', old)
  const found = await new TwinFile(directory.storage, log, 'f').read()
  assert.ok(found !== null && equalBytes(found, utf8('two')))
})

twins('both copies damaged, cut short, or those of another file: nothing', async () => {
  const directory = new TestDirectory()
  await new TwinFile(directory.storage, log, 'f').write(utf8('one'))
  const copy = directory.files.get('f') as Bytes
  directory.files.set('g', copy).set('g.copy', copy)
  assert.is(await new TwinFile(directory.storage, log, 'g').read(), null)
  for (const bytes of [copy.subarray(0, 5), copy.subarray(0, copy.length - 1), new Uint8Array(0)]) {
    directory.files.set('f', bytes).set('f.copy', bytes)
    assert.is(await new TwinFile(directory.storage, log, 'f').read(), null)
  }
})

twins.run()

const votes = suite('votes')

votes('an answer leaves only when both copies of the votes are on disk', async () => {
  const directory = new TestDirectory()
  const acceptor = await open(directory)
  directory.isSlow = true
  let isAnswered = false
  void acceptor.answer(prepare(3), standing).then(() => {
    isAnswered = true
  })
  for (const name of [VOTES_FILE, `${VOTES_FILE}.copy`]) {
    await settle()
    assert.not.ok(isAnswered)
    directory.waiting.shift()?.()
    await settle()
    assert.equal(decodeVotes(directory.files.get(name) as Bytes).promised, ballot(3))
  }
  assert.ok(isAnswered)
})

votes('requests wait for their turn, and see what the ones before left', async () => {
  const acceptor = await open(new TestDirectory())
  const answers = await Promise.all([5, 3, 7].map((round) => acceptor.answer(vote(round), standing)))
  assert.equal(
    answers.map(({ type }) => type),
    ['voted', 'voteRefused', 'voted'],
  )
})

votes('promises and votes outlive the process', async () => {
  const directory = new TestDirectory()
  const before = await open(directory)
  await before.answer(prepare(3), standing)
  await before.answer(vote(4), standing)
  const after = await open(directory)
  assert.is(after.acceptorId, before.acceptorId)
  assert.is((await after.answer(prepare(3), standing)).type, 'voteRefused')
  const promise = await after.answer(prepare(9), standing)
  assert.equal(promise.type === 'promise' && promise.accepted?.ballot, ballot(4))
})

votes('when the disk fails there is no answer, and nothing was promised', async () => {
  const directory = new TestDirectory()
  const acceptor = await open(directory)
  directory.isBroken = true
  await acceptor.answer(prepare(9), standing).then(
    () => assert.unreachable(),
    (error: unknown) => assert.is((error as KvError).code, 'INTERNAL'),
  )
  directory.isBroken = false
  assert.is((await acceptor.answer(prepare(2), standing)).type, 'promise')
})

votes('lost, damaged or rolled back, it is another acceptor without a vote cast', async () => {
  const directory = new TestDirectory()
  const before = await open(directory)
  await before.answer(vote(4), standing)
  const rolledBack = await open(directory, true)
  assert.is.not(rolledBack.acceptorId, before.acceptorId)
  assert.equal(decodeVotes(directory.files.get(VOTES_FILE) as Bytes).accepted, null)
  directory.damage(VOTES_FILE)
  assert.is((await open(directory)).acceptorId, rolledBack.acceptorId, 'one copy is enough')
  directory.damage(VOTES_FILE)
  directory.damage(`${VOTES_FILE}.copy`)
  const damaged = await open(directory)
  assert.is.not(damaged.acceptorId, rolledBack.acceptorId)
  assert.is((await open(directory)).acceptorId, damaged.acceptorId, 'the new id stays')
  assert.is.not((await open(new TestDirectory())).acceptorId, damaged.acceptorId)
})

votes('stopped, it answers no more', async () => {
  const acceptor = await open(new TestDirectory())
  await acceptor.stop()
  await acceptor.answer(prepare(1), standing).then(
    () => assert.unreachable(),
    (error: unknown) => assert.is((error as KvError).code, 'UNAVAILABLE'),
  )
})

votes.run()
