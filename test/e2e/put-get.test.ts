import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  countOf,
  endAll,
  type Finished,
  type PeerProcess,
  type RunOptions,
  run,
  startCluster,
  until,
} from '../processes/peers.ts'

const test = suite('three peers')
let peers: readonly PeerProcess[] = []

test.before(async () => {
  peers = await startCluster(3)
})
test.after(() => endAll(peers))

function kvctl(
  peer: number | readonly number[],
  args: readonly string[],
  options?: RunOptions,
): Promise<Finished> {
  const asked = typeof peer === 'number' ? [peer] : peer
  return run(
    'kvctl',
    [...args, ...asked.flatMap((index) => ['--peer', (peers[index] as PeerProcess).address])],
    options,
  )
}

test('what is put through any peer is read through every other', async () => {
  const all = [0, 1, 2]
  const puts = await Promise.all(
    all.map((writer) => kvctl(writer, ['put', `from-${writer}`, `value ${writer}`])),
  )
  for (const put of puts) assert.equal(put, { code: 0, stdout: '', stderr: '' })
  const reads = all.flatMap((reader) => all.map((writer) => ({ reader, writer })))
  for (const { reader, writer } of reads) {
    const { code, stdout } = await kvctl(reader, ['get', `from-${writer}`])
    assert.is(code, 0)
    assert.is(stdout, `value ${writer}`, 'the bytes as they are, without a newline')
  }
})

test('bytes of any kind go in by standard input and come out as they were', async () => {
  const bytes = Uint8Array.from({ length: 70_000 }, (_, i) => (i * 7919) % 256)
  assert.is((await kvctl(0, ['put', 'binary', '-'], { input: bytes })).code, 0)
  const shown = JSON.parse((await kvctl(1, ['get', 'binary', '--json'])).stdout)
  assert.is(shown.values[0].encoding, 'base64')
  assert.ok(Buffer.from(shown.values[0].value, 'base64').equals(bytes))
})

test('keys can be given in hexadecimal digits', async () => {
  assert.is((await kvctl(0, ['put', '00ff', 'zero', '--key-hex'])).code, 0)
  assert.is((await kvctl(2, ['get', '00FF', '--key-hex'])).stdout, 'zero')
  assert.is((await kvctl(2, ['get', '0ff', '--key-hex'])).code, 2)
})

test('an empty value is a value', async () => {
  assert.is((await kvctl(0, ['put', 'empty', ''])).code, 0)
  assert.equal(await kvctl(1, ['get', 'empty']), { code: 0, stdout: '', stderr: '' })
})

test('a key that was deleted, or never written, is not found: exit code 1', async () => {
  await kvctl(0, ['put', 'gone', 'x'])
  assert.is((await kvctl(1, ['del', 'gone', 'never-there'])).code, 0)
  const { code, stdout, stderr } = await kvctl(2, ['get', 'gone'])
  assert.equal({ code, stdout }, { code: 1, stdout: '' })
  assert.match(stderr, 'no such key: gone')
})

test('two writes with one context become siblings, and a put with theirs leaves one', async () => {
  const { context } = JSON.parse((await kvctl(0, ['put', 'cart', 'start', '--json'])).stdout)
  await kvctl(0, ['put', 'cart', 'milk', '--context', context])
  await kvctl(1, ['put', 'cart', 'eggs', '--context', context])
  const both = await kvctl(2, ['get', 'cart', '--json'])
  const shown = JSON.parse(both.stdout)
  assert.equal(shown.values.map(({ value }: { value: string }) => value).sort(), ['eggs', 'milk'])
  assert.is(shown.siblings, 1)
  assert.match((await kvctl(2, ['get', 'cart'])).stderr, '2 values written at the same time')
  await kvctl(0, ['put', 'cart', 'milk and eggs', '--context', shown.context])
  assert.equal(await kvctl(1, ['get', 'cart']), { code: 0, stdout: 'milk and eggs', stderr: '' })
})

test('the context of another key is refused', async () => {
  const { context } = JSON.parse((await kvctl(0, ['put', 'one', '1', '--json'])).stdout)
  const refused = await kvctl(0, ['put', 'two', '2', '--context', context])
  assert.is(refused.code, 2)
})

test('status, ring and keyspaces are tables and JSON', async () => {
  const status = await kvctl(1, ['status'])
  assert.is(status.stdout.match(/^UN /gm)?.length, 3)
  assert.not(status.stdout.includes('\u001b'), 'no colours where nobody watches')
  assert.is(JSON.parse((await kvctl(1, ['status', '--json'])).stdout).peers.length, 3)
  const located = JSON.parse((await kvctl(0, ['ring', '--key', 'greeting', '--json'])).stdout)
  assert.is(located.owners.length, 3)
  const ring = (await kvctl(0, ['ring'])).stdout
  assert.is(ring.match(/^127\.0\.0\.1:\d+ +512 +1\d\d$/gm)?.length, 3, ring)
  assert.match(ring, '512 partitions')
  const partitions = (await kvctl(0, ['ring', '--partitions'])).stdout
  assert.is(partitions.match(/^ *\d+( +127\.0\.0\.1:\d+){3}$/gm)?.length, 512)
  assert.match((await kvctl(0, ['keyspace', 'list'])).stdout, 'default')
})

test('a keyspace is made, used, and dropped with what is in it', async () => {
  assert.is(
    (await kvctl(0, ['keyspace', 'create', 'shop', '--strategy', 'full', '--conflicts', 'lww'])).code,
    0,
  )
  assert.is((await kvctl(1, ['put', 'k', 'v', '--keyspace', 'shop'])).code, 0)
  assert.is((await kvctl(2, ['get', 'k', '--keyspace', 'shop'])).stdout, 'v')
  assert.is((await kvctl(2, ['get', 'k'])).code, 1, 'another keyspace has keys of its own')
  assert.is((await kvctl(2, ['keyspace', 'drop', 'shop'])).code, 0)
  const gone = await kvctl(0, ['get', 'k', '--keyspace', 'shop'])
  assert.is(gone.code, 2)
  assert.match(gone.stderr, "keyspace 'shop'")
})

test('making a keyspace says whether it was there, what differs, and of too few peers', async () => {
  const create = (...options: readonly string[]): Promise<Finished> =>
    kvctl(0, ['keyspace', 'create', 'twice', ...options])
  assert.equal(await create(), { code: 0, stdout: 'keyspace twice is made\n', stderr: '' })
  assert.match((await create()).stdout, 'was there already')
  const other = await create('--strategy', 'full', '-w', 'all')
  assert.is(other.code, 2)
  assert.match(other.stderr, 'exists with other options: strategy is ring, not full, w is quorum, not all')
  const wide = await kvctl(1, ['keyspace', 'create', 'wide', '--replicas', '5', '--json'])
  assert.is(JSON.parse(wide.stdout).created, true)
  assert.match(wide.stderr, '5 replicas are wanted and the cluster has 3 peers for them')
  const both = await kvctl(1, ['keyspace', 'create', 'both', '--strategy', 'full', '--replicas', '2'])
  assert.is(both.code, 2)
  assert.match(both.stderr, 'strategy full and replicas exclude each other')
  const full = await kvctl(1, ['keyspace', 'create', 'everywhere', '--strategy', 'full', '--json'])
  assert.is(JSON.parse(full.stdout).replicas, null)
  assert.is(full.stderr, '')
})

test('del can be blind, as put can', async () => {
  await kvctl(0, ['put', 'seen', 'x'])
  assert.is((await kvctl(0, ['del', 'seen', '--blind', '-w', 'all'])).code, 0)
  assert.is((await kvctl(1, ['get', 'seen'])).code, 1)
})

test('with one peer killed the others go on, and kvctl asks the next one', async () => {
  await kvctl(0, ['put', 'before', 'kept'])
  await (peers[2] as PeerProcess).end('SIGKILL')
  const rest = peers.slice(0, 2)
  await until(rest, (status) => countOf(status, 'DN') === 1)
  assert.is((await kvctl(0, ['put', 'during', 'written'])).code, 0)
  assert.is((await kvctl(1, ['get', 'before'])).stdout, 'kept')
  assert.is((await kvctl([2, 1], ['get', 'during'])).stdout, 'written', 'the first address is dead')
  await (peers[2] as PeerProcess).start()
  await until(peers, (status) => countOf(status, 'UN') === 3)
  assert.is((await kvctl(2, ['get', 'during'])).stdout, 'written')
})

test('stopped and started again, the cluster has its data', async () => {
  await kvctl(0, ['put', 'lasting', 'still here'])
  const codes = await Promise.all(peers.map((peer) => peer.end('SIGTERM')))
  assert.equal(codes, [0, 0, 0], 'SIGTERM ends in order')
  await Promise.all(peers.map((peer) => peer.start()))
  await until(peers, (status) => countOf(status, 'UN') === 3)
  const reads = await Promise.all([0, 1, 2].map((peer) => kvctl(peer, ['get', 'lasting'])))
  for (const { stdout } of reads) assert.is(stdout, 'still here')
})

test('a repair says what it compared, and tasks shows it afterwards', async () => {
  await kvctl(0, ['put', 'repaired', 'x'])
  const { code, stdout, stderr } = await kvctl(1, ['repair', '--keyspace', 'default'])
  assert.equal([code, stderr], [0, ''])
  assert.match(stdout, /^compared {2}1,536 of 1,536 partitions, by 3 pairs of peers$/m)
  assert.match(stdout, /^moved {5}/m)
  const { tasks, silent } = JSON.parse((await kvctl(2, ['tasks', '--json'])).stdout)
  assert.equal(silent, [])
  const ended = tasks.filter((task: { round: string | null }) => task.round !== null)
  assert.is(ended.length, 3)
  assert.match((await kvctl(2, ['tasks'])).stdout, /^repair .* default .*done .*512 of 512 partitions/m)
  const unknown = await kvctl(0, ['repair', '--keyspace', 'none'])
  assert.is(unknown.code, 2)
  assert.match(unknown.stderr, /there is no keyspace 'none'/)
})

test.run()
