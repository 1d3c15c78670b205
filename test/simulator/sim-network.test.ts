import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { text, utf8 } from '../../src/base/bytes.ts'
import { type Address, parseAddress } from '../../src/base/ids.ts'
import type { Link, LinkHandler } from '../../src/effects/network.ts'
import { createWorld, type Life, type SimWorld } from '../../src/simulator/sim-world.ts'

const test = suite('simulated network')

const SERVER = parseAddress('server:1')

/** Writes down what a link tells, and answers frames when asked to. */
class Diary implements LinkHandler {
  readonly lines: string[] = []
  opened(): void {
    this.lines.push('opened')
  }
  received(frame: Uint8Array): void {
    this.lines.push(text(frame))
  }
  progressed(): void {
    this.lines.push('progressed')
  }
  closed(cause: string): void {
    this.lines.push(`closed: ${cause}`)
  }
}

interface Pair {
  readonly world: SimWorld
  readonly server: Life
  readonly client: Life
  readonly accepted: Link[]
  readonly heardByServer: Diary
  readonly heardByClient: Diary
  readonly link: Link
}

async function connect(seed = 1): Promise<Pair> {
  const world = createWorld({ seed })
  const [server, client] = [world.host('server').boot(), world.host('client').boot()]
  const [heardByServer, heardByClient] = [new Diary(), new Diary()]
  const accepted: Link[] = []
  await server.effects.network.listen(SERVER, (link) => {
    link.setHandler(heardByServer)
    accepted.push(link)
  })
  const link = client.effects.network.dial(SERVER, 'data', heardByClient)
  await world.scheduler.run(100)
  return { world, server, client, accepted, heardByServer, heardByClient, link }
}

let dials = 0

async function dial(world: SimWorld, address: Address, forMs = 5_000): Promise<Diary> {
  const diary = new Diary()
  world.host(`dialler ${dials++}`).boot().effects.network.dial(address, 'data', diary)
  await world.scheduler.run(world.scheduler.nowMs + forMs)
  return diary
}

test('a dial is answered and frames arrive in order, both ways', async () => {
  const { world, accepted, heardByServer, heardByClient, link } = await connect()
  for (let i = 0; i < 20; i++) link.send(utf8(`ping ${i}`))
  accepted[0]?.send(utf8('pong'))
  await world.scheduler.run(200)
  assert.equal(heardByClient.lines, ['opened', 'pong'])
  assert.equal(
    heardByServer.lines,
    Array.from({ length: 20 }, (_, i) => `ping ${i}`),
  )
})

test('a dial is refused where nobody listens, and lost where there is no power or no host', async () => {
  const world = createWorld({ seed: 1 })
  const { process } = world.host('server').boot()
  assert.equal((await dial(world, SERVER)).lines, ['closed: refused'])
  world.host('server').end('power')
  assert.is(process.state, 'dead')
  assert.equal((await dial(world, SERVER)).lines, ['closed: lost'])
  assert.equal((await dial(world, parseAddress('nowhere:1'))).lines, ['closed: lost'])
})

test('a killed program resets its links, a host without power falls silent', async () => {
  const killed = await connect()
  killed.world.host('server').end('process')
  await killed.world.scheduler.run(200)
  assert.equal(killed.heardByClient.lines, ['opened', 'closed: closed'])
  assert.equal(killed.heardByServer.lines, [])

  const dark = await connect()
  dark.world.host('server').end('power')
  await dark.world.scheduler.run(60_000)
  assert.equal(dark.heardByClient.lines, ['opened'])
})

test('a rebooted host answers frames for its former life with a reset', async () => {
  const { world, heardByClient, link } = await connect()
  world.host('server').end('power')
  link.send(utf8('hello?'))
  await world.scheduler.run(5_000)
  assert.equal(heardByClient.lines, ['opened'])
  world.host('server').boot()
  await world.scheduler.run(15_000)
  assert.equal(heardByClient.lines, ['opened', 'closed: closed'])
})

test('across a cut nothing arrives and nothing ends; when it heals everything comes, in order', async () => {
  const { world, heardByServer, heardByClient, link } = await connect()
  const heal = world.paths.add({ touches: (from) => from === 'client', cut: true })
  for (let i = 0; i < 5; i++) link.send(utf8(`${i}`))
  await world.scheduler.run(10_000)
  assert.equal(heardByServer.lines, [])
  heal()
  link.send(utf8('5'))
  await world.scheduler.run(20_000)
  assert.equal(heardByServer.lines, ['0', '1', '2', '3', '4', '5'])
  assert.equal(heardByClient.lines, ['opened'])
})

test('a one-way cut lets the other direction through', async () => {
  const { world, accepted, heardByServer, heardByClient, link } = await connect()
  world.paths.add({ touches: (from) => from === 'client', cut: true })
  link.send(utf8('lost'))
  accepted[0]?.send(utf8('found'))
  await world.scheduler.run(1_000)
  assert.equal(heardByServer.lines, [])
  assert.equal(heardByClient.lines, ['opened', 'found'])
})

test('bytes pile up visibly once the kernel takes no more', async () => {
  const { world, link } = await connect()
  world.paths.add({ touches: () => true, cut: true })
  for (let i = 0; i < 10; i++) link.send(new Uint8Array(100_000))
  assert.is(link.bufferedBytes, 1_000_000 - 256 * 1024)
})

test('loss, duplication and reordering happen about as often as asked', async () => {
  const { world, heardByServer, link } = await connect()
  world.paths.add({ touches: () => true, loss: 0.3, duplication: 0.2, reordering: 0.5 })
  for (let i = 0; i < 1000; i++) {
    link.send(utf8(`${i}`))
    await world.scheduler.run(world.scheduler.nowMs + 1)
  }
  await world.scheduler.run(world.scheduler.nowMs + 1000)
  const distinct = new Set(heardByServer.lines).size
  assert.ok(distinct > 600 && distinct < 800, `${distinct} arrived`)
  assert.ok(heardByServer.lines.length > distinct + 80, 'some arrived twice')
  const numbers = heardByServer.lines.map(Number)
  assert.ok(
    numbers.some((n, i) => i > 0 && n < (numbers[i - 1] as number)),
    'some arrived late',
  )
})

test('a stopped program hears everything when it goes on, its late timers first', async () => {
  const { world, server, heardByServer, link } = await connect()
  server.process.pause()
  server.effects.clock.setTimer(50, () => heardByServer.lines.push('timer'))
  link.send(utf8('frame'))
  await world.scheduler.run(5_000)
  assert.equal(heardByServer.lines, [])
  server.process.resume()
  await world.scheduler.run(5_001)
  assert.equal(heardByServer.lines, ['timer', 'frame'])
})

test('a stopped program is dialled without an answer until it goes on', async () => {
  const { world, server } = await connect()
  server.process.pause()
  const diary = await dial(world, SERVER, 2_000)
  assert.equal(diary.lines, [])
  server.process.resume()
  await world.scheduler.run(world.scheduler.nowMs + 10)
  assert.equal(diary.lines, ['opened'])
})

test('close lets arrive what was sent; both sides hear of the end', async () => {
  const { world, heardByServer, heardByClient, link } = await connect()
  link.send(utf8('last words'))
  link.close()
  link.send(utf8('too late'))
  await world.scheduler.run(200)
  assert.equal(heardByServer.lines, ['last words', 'closed: closed'])
  assert.equal(heardByClient.lines, ['opened', 'closed: closed'])
})

test('terminate ends it at once, and tells the handler later', async () => {
  const { world, heardByServer, heardByClient, link } = await connect()
  link.terminate()
  assert.equal(heardByClient.lines, ['opened'])
  await world.scheduler.run(200)
  assert.equal(heardByClient.lines, ['opened', 'closed: lost'])
  assert.equal(heardByServer.lines, ['closed: closed'])
})

test('a port is taken once, port 0 is a free one', async () => {
  const { server } = await connect()
  const { network } = server.effects
  const refused = await network
    .listen(SERVER, () => undefined)
    .then(
      () => null,
      (error) => error.code,
    )
  assert.is(refused, 'INVALID_ARGUMENT')
  const free = parseAddress('server:0')
  const [a, b] = [await network.listen(free, () => undefined), await network.listen(free, () => undefined)]
  assert.is.not(a.address, b.address)
})

test('bytes are counted with what WebSocket, TCP and the connection itself add', async () => {
  const { world, link } = await connect()
  const before = world.network.traffic('client')
  link.send(new Uint8Array(100))
  await world.scheduler.run(200)
  const after = world.network.traffic('client')
  assert.is(after.sentBytes - before.sentBytes, 100 + 6 + 52)
  assert.is(before.sentBytes + before.receivedBytes, 1200)
  assert.is(before.connections, 1)
})

test.run()
