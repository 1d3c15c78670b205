import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from 'node:net'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { WebSocket } from 'ws'
import { type Bytes, text, utf8 } from '../../src/base/bytes.ts'
import { KvError } from '../../src/base/error.ts'
import { type Address, makeAddress, parseAddress, splitAddress } from '../../src/base/ids.ts'
import type { CloseCause, Link, LinkHandler, Listener } from '../../src/effects/network.ts'
import { createSystemNetwork, type SystemNetworkOptions } from '../../src/platform/ws-network.ts'

const LOOPBACK = parseAddress('127.0.0.1:0')
const LIMITS: SystemNetworkOptions = { maxFrameBytes: 1024 * 1024 }

/** A handler that lets tests wait for what it is told. */
class Recorder implements LinkHandler {
  readonly frames: Bytes[] = []
  readonly causes: CloseCause[] = []
  why: string | null = null
  hasOpened = false
  progressCount = 0
  #changed: () => void = () => {}

  opened(): void {
    this.hasOpened = true
    this.#changed()
  }

  received(frame: Bytes): void {
    this.frames.push(frame)
    this.#changed()
  }

  progressed(): void {
    this.progressCount += 1
    this.#changed()
  }

  closed(cause: CloseCause, why: string | null = null): void {
    this.causes.push(cause)
    this.why = why
    this.#changed()
  }

  async until(condition: (self: this) => boolean): Promise<void> {
    while (!condition(this)) {
      await new Promise<void>((resolve) => {
        this.#changed = resolve
      })
    }
  }

  async cause(): Promise<CloseCause> {
    await this.until((self) => self.causes.length > 0)
    return this.causes[0] as CloseCause
  }
}

interface Pair {
  readonly listener: Listener
  readonly dialled: Link
  readonly dialler: Recorder
  readonly accepted: Link
  readonly accepter: Recorder
}

const closers: (() => Promise<unknown> | unknown)[] = []
const test = suite('ws network')
test.after.each(async () => {
  for (const close of closers.splice(0)) await close()
})

async function listen(
  accept: (link: Link, purpose: string) => void,
  options: Partial<SystemNetworkOptions> = {},
): Promise<Listener> {
  const listener = await createSystemNetwork({ ...LIMITS, ...options }).listen(LOOPBACK, accept)
  closers.push(() => listener.close())
  return listener
}

async function pair(options: Partial<SystemNetworkOptions> = {}): Promise<Pair> {
  const accepter = new Recorder()
  const dialler = new Recorder()
  let accepted: Link | null = null
  const listener = await listen((link) => {
    accepted = link
    link.setHandler(accepter)
  }, options)
  const dialled = createSystemNetwork({ ...LIMITS, ...options }).dial(listener.address, 'data', dialler)
  await dialler.until((self) => self.hasOpened)
  assert.ok(accepted)
  return { listener, dialled, dialler, accepted, accepter }
}

/** A TCP server that does with each connection what the test says. */
async function tcp(onConnection: (socket: Socket) => void): Promise<Address> {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    socket.on('error', () => {})
    sockets.push(socket)
    onConnection(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(() => {
    for (const socket of sockets) socket.destroy()
    return new Promise((resolve) => server.close(resolve))
  })
  return makeAddress('127.0.0.1', (server.address() as AddressInfo).port)
}

async function unusedAddress(): Promise<Address> {
  const listener = await createSystemNetwork(LIMITS).listen(LOOPBACK, () => {})
  await listener.close()
  return listener.address
}

function dial(
  address: Address,
  options: Partial<SystemNetworkOptions> = {},
): { link: Link; handler: Recorder } {
  const handler = new Recorder()
  return { link: createSystemNetwork({ ...LIMITS, ...options }).dial(address, 'control', handler), handler }
}

test('frames arrive whole, in order, both ways, and port 0 is told as the real one', async () => {
  const { listener, dialled, dialler, accepted, accepter } = await pair()
  assert.ok(splitAddress(listener.address).port > 0)
  const big = new Uint8Array(1024 * 1024).fill(7)
  for (let i = 0; i < 100; i++) dialled.send(utf8(`frame ${i}`))
  dialled.send(big)
  dialled.send(new Uint8Array(0))
  accepted.send(utf8('hello'))
  await accepter.until((self) => self.frames.length === 102)
  await dialler.until((self) => self.frames.length === 1)
  assert.equal(
    accepter.frames.slice(0, 100).map(text),
    Array.from({ length: 100 }, (_, i) => `frame ${i}`),
  )
  assert.equal(Buffer.compare(accepter.frames[100] as Bytes, big), 0)
  assert.is(accepter.frames[101]?.length, 0)
  assert.equal(dialler.frames.map(text), ['hello'])
})

test('the path tells what a link is for', async () => {
  const purposes: string[] = []
  const listener = await listen((link, purpose) => {
    purposes.push(purpose)
    link.setHandler(new Recorder())
  })
  for (const purpose of ['control', 'data', 'client'] as const) {
    const handler = new Recorder()
    createSystemNetwork(LIMITS).dial(listener.address, purpose, handler)
    await handler.until((self) => self.hasOpened)
  }
  assert.equal(purposes, ['control', 'data', 'client'])
})

test('an end is told once on both sides: closed when asked for, after what was sent has left', async () => {
  const { dialled, dialler, accepted, accepter } = await pair()
  dialled.send(utf8('last words'))
  dialled.close()
  dialled.close()
  assert.is(await accepter.cause(), 'closed')
  assert.is(await dialler.cause(), 'closed')
  assert.equal(accepter.frames.map(text), ['last words'])
  accepted.send(utf8('ignored'))
  dialled.terminate()
  accepted.close()
  await new Promise(setImmediate)
  assert.is(dialler.causes.length + accepter.causes.length, 2)
})

test('terminate is lost here, told after the call, and closed there', async () => {
  const { dialled, dialler, accepter } = await pair()
  dialled.terminate()
  assert.is(dialler.causes.length, 0)
  dialled.terminate()
  assert.is(await dialler.cause(), 'lost')
  assert.is(await accepter.cause(), 'closed')
  assert.is(dialler.causes.length, 1)
})

test('nobody at the port is refused', async () => {
  const { handler } = dial(await unusedAddress())
  assert.is(await handler.cause(), 'refused')
  assert.not(handler.hasOpened)
})

test('a reset during the handshake is refused, an orderly end then is closed', async () => {
  const resetting = await tcp((socket) => socket.once('data', () => socket.resetAndDestroy()))
  assert.is(await dial(resetting).handler.cause(), 'refused')
  const ending = await tcp((socket) => socket.once('data', () => socket.end()))
  assert.is(await dial(ending).handler.cause(), 'closed')
})

test('a dial that fails says why where more is known than the cause', async () => {
  const unnamed = dial(parseAddress('no-such-host.invalid:7001')).handler
  assert.is(await unnamed.cause(), 'lost')
  assert.is(unnamed.why, 'the host name does not resolve')
  const web = createHttpServer((_, response) => response.end('hello'))
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve))
  const page = dial(makeAddress('127.0.0.1', (web.address() as AddressInfo).port)).handler
  await page.cause()
  assert.is(page.why, 'what answers there is no kvnode peer')
  web.close()
})

test('silence during the handshake is lost, never refused', async () => {
  const silent = await tcp(() => {})
  assert.is(await dial(silent, { dialTimeoutMs: 30 }).handler.cause(), 'lost')
})

test('a name that does not resolve and an address no URL can hold are lost', async () => {
  assert.is(await dial('no-such-host.invalid:7001' as Address).handler.cause(), 'lost')
  assert.is(await dial('[::1%]:7001' as Address).handler.cause(), 'lost')
})

test('a foreign server that answers something else ends the attempt', async () => {
  const foreign = await tcp((socket) =>
    socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')),
  )
  assert.is(await dial(foreign).handler.cause(), 'closed')
  const talker = await tcp((socket) => socket.end('220 mail ready\r\n'))
  assert.is(await dial(talker).handler.cause(), 'lost')
})

test('a dial that is given up is told once', async () => {
  const address = await unusedAddress()
  const closed = dial(address)
  closed.link.close()
  const terminated = dial(address)
  terminated.link.terminate()
  assert.is(await closed.handler.cause(), 'closed')
  assert.is(await terminated.handler.cause(), 'lost')
  await new Promise((resolve) => setTimeout(resolve, 20))
  assert.is(closed.handler.causes.length + terminated.handler.causes.length, 2)
})

test('a reset of an established link is closed', async () => {
  const accepter = new Recorder()
  const listener = await listen((link) => link.setHandler(accepter))
  const webSocket = new WebSocket(`ws://${listener.address}/v1/client`)
  await new Promise((resolve) => webSocket.once('open', resolve))
  ;(webSocket as unknown as { _socket: Socket })._socket.resetAndDestroy()
  assert.is(await accepter.cause(), 'closed')
})

test('a text frame, a frame too large and too many fragments each cut the link', async () => {
  const offences: ((webSocket: WebSocket) => void)[] = [
    (webSocket) => webSocket.send('text'),
    (webSocket) => webSocket.send(new Uint8Array(1024 * 1024 + 1)),
    (webSocket) => {
      for (let i = 0; i < 17; i++) webSocket.send(new Uint8Array(1), { fin: false })
    },
  ]
  for (const offend of offences) {
    const accepter = new Recorder()
    const listener = await listen((link) => link.setHandler(accepter))
    const webSocket = new WebSocket(`ws://${listener.address}/v1/peer/data`)
    webSocket.on('error', () => {})
    webSocket.on('open', () => offend(webSocket))
    assert.is(await accepter.cause(), 'lost')
    assert.is(accepter.frames.length, 0)
  }
})

/** A way to the listener; from the dialler's side so many bytes pass, until the test lets all of them. */
async function slowWay(to: Address, passes: number): Promise<{ address: Address; open: () => void }> {
  const { host, port } = splitAddress(to)
  let open: () => void = () => {}
  const address = await tcp((near) => {
    const far = connectTcp(port, host)
    far.on('error', () => {})
    far.pipe(near)
    let left = passes
    near.on('data', (chunk: Buffer) => {
      far.write(chunk)
      left -= chunk.length
      if (left <= 0) near.pause()
    })
    near.on('close', () => far.destroy())
    open = () => {
      left = Number.POSITIVE_INFINITY
      near.resume()
    }
  })
  return { address, open: () => open() }
}

test('while a large frame is on its way both ends hear that it moves, and then no more', async () => {
  const accepter = new Recorder()
  const listener = await listen((link) => link.setHandler(accepter))
  const way = await slowWay(listener.address, 256 * 1024)
  const { link, handler } = dial(way.address)
  await handler.until((self) => self.hasOpened)
  link.send(new Uint8Array(1024 * 1024))
  await handler.until((self) => self.progressCount > 0)
  assert.ok(accepter.progressCount > 0)
  assert.equal(accepter.frames, [])
  way.open()
  await accepter.until((self) => self.frames.length === 1)
  const told = handler.progressCount
  link.send(utf8('more'))
  await accepter.until((self) => self.frames.length === 2)
  assert.ok(handler.progressCount - told <= 1, 'no word about words')
  assert.is(accepter.frames[0]?.length, 1024 * 1024)
})

test('a client may bring smaller frames than a peer', async () => {
  const accepters: Recorder[] = []
  const accept = (link: Link): void => {
    accepters.push(new Recorder())
    link.setHandler(accepters.at(-1) as Recorder)
  }
  const listener = await listen(accept, { maxClientFrameBytes: 64 * 1024 })
  for (const purpose of ['data', 'client'] as const) {
    const handler = new Recorder()
    const link = createSystemNetwork(LIMITS).dial(listener.address, purpose, handler)
    await handler.until((self) => self.hasOpened)
    link.send(new Uint8Array(64 * 1024 + 1))
  }
  const [peer, client] = accepters as [Recorder, Recorder]
  await peer.until((self) => self.frames.length === 1)
  assert.is(await client.cause(), 'lost')
  assert.equal(client.frames, [])
})

/** A client that begins a frame of 200 KiB and sends so much of it. */
async function beginFrame(address: Address, sizeBytes: number): Promise<WebSocket> {
  const webSocket = new WebSocket(`ws://${address}/v1/client`)
  webSocket.on('error', () => {})
  await new Promise((resolve) => webSocket.once('open', resolve))
  const header = Buffer.alloc(14)
  header[0] = 0x82
  header[1] = 0x80 | 127
  header.writeBigUInt64BE(BigInt(200 * 1024), 2)
  const socket = (webSocket as unknown as { _socket: Socket })._socket
  socket.write(Buffer.concat([header, Buffer.alloc(sizeBytes)]))
  return webSocket
}

test('whoever begins a frame and does not end it in time is cut; whoever only pings is not', async () => {
  const causes: CloseCause[] = []
  const accept = (link: Link): void => {
    const handler = new Recorder()
    link.setHandler(handler)
    void handler.cause().then((cause) => causes.push(cause))
  }
  const listener = await listen(accept, { frameTimeoutMs: 40 })
  const pinger = new WebSocket(`ws://${listener.address}/v1/client`)
  await new Promise((resolve) => pinger.once('open', resolve))
  pinger.ping()
  const sizes = [0, 1, 100 * 1024]
  const ends = sizes.map(async (size) => {
    const webSocket = await beginFrame(listener.address, size)
    await new Promise((resolve) => webSocket.once('close', resolve))
  })
  await Promise.all(ends)
  assert.equal(causes, ['lost', 'lost', 'lost'])
  assert.is(pinger.readyState, WebSocket.OPEN)
  pinger.terminate()
})

test('frames that are not whole share so many bytes: past that the oldest goes', async () => {
  const listener = await listen((link) => link.setHandler(new Recorder()), { maxPartialBytes: 250 * 1024 })
  const first = await beginFrame(listener.address, 100 * 1024)
  const ended = new Promise((resolve) => first.once('close', resolve))
  // The bound is not reached before the third has come.
  const others = [
    await beginFrame(listener.address, 100 * 1024),
    await beginFrame(listener.address, 100 * 1024),
  ]
  await ended
  assert.equal(
    others.map(({ readyState }) => readyState),
    [WebSocket.OPEN, WebSocket.OPEN],
  )
  for (const webSocket of others) webSocket.terminate()
})

test('a link whose other side does not read is cut when too much waits', async () => {
  const { dialled, dialler } = await pair({ maxBufferedBytes: 256 * 1024 })
  // Both sides share this thread: nobody reads within one turn.
  for (let i = 0; i < 1000; i++) dialled.send(new Uint8Array(64 * 1024))
  assert.is(dialler.causes.length, 0)
  assert.is(await dialler.cause(), 'lost')
  assert.is(dialled.bufferedBytes, 0)
})

test('an address in use, not ours, or unresolvable is an error that says what to do', async () => {
  const listener = await listen(() => {})
  const network = createSystemNetwork(LIMITS)
  const failure = async (address: string): Promise<string> => {
    try {
      await network.listen(parseAddress(address), () => {})
    } catch (error) {
      assert.instance(error, KvError)
      assert.is((error as KvError).code, 'INVALID_ARGUMENT')
      return (error as KvError).message
    }
    return 'it listens'
  }
  const { port } = splitAddress(listener.address)
  assert.is(
    await failure(listener.address),
    `port ${port} on 127.0.0.1 is taken; choose another one, or stop what uses it`,
  )
  assert.match(await failure('203.0.113.9:0'), 'not an address of this machine')
  assert.match(await failure('no-such-host.invalid:0'), 'does not resolve')
})

test('strangers who say nothing are dropped: the oldest past the limit, all after a while', async () => {
  const listener = await listen(() => {}, { maxStrangers: 4, strangerTimeoutMs: 50 })
  const { host, port } = splitAddress(listener.address)
  const ended: number[] = []
  const sockets = []
  for (let i = 0; i < 6; i++) {
    const socket = connectTcp(port, host)
    await new Promise((resolve) => socket.once('connect', resolve))
    sockets.push(
      new Promise((resolve) => socket.on('error', () => {}).on('close', resolve)).then(() => ended.push(i)),
    )
    socket.resume()
  }
  await Promise.all(sockets)
  assert.equal(ended.slice(0, 2), [0, 1])
  assert.is(ended.length, 6)
})

test('an upgrade to an unknown path or from a web page is refused with a problem', async () => {
  const listener = await listen((link) => link.setHandler(new Recorder()))
  const attempt = (path: string, headers: Record<string, string> = {}): Promise<number | undefined> =>
    new Promise((resolve) => {
      const webSocket = new WebSocket(`ws://${listener.address}${path}`, { headers })
      webSocket.on('error', () => {})
      webSocket.on('unexpected-response', (_, response) => resolve(response.statusCode))
    })
  assert.is(await attempt('/v1/other'), 404)
  assert.is(await attempt('/v1/client?x=1'), 404)
  assert.is(await attempt('/v1/client', { origin: 'http://example.com' }), 403)
})

test('before there is anybody to answer HTTP it says so, and bad HTTP is a problem too', async () => {
  const listener = await listen(() => {})
  const response = await fetch(`http://${listener.address}/v1/status`)
  assert.is(response.status, 503)
  assert.is(response.headers.get('content-type'), 'application/problem+json')
  assert.is(((await response.json()) as { code: string }).code, 'UNAVAILABLE')
  const { host, port } = splitAddress(listener.address)
  const answer = await new Promise<string>((resolve) => {
    let heard = ''
    const socket = connectTcp(port, host, () => socket.write('HELO there\r\n\r\n'))
    socket.on('data', (chunk) => {
      heard += chunk
    })
    socket.on('close', () => resolve(heard))
  })
  assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/)
  assert.match(answer, '"code":"INVALID_ARGUMENT"')
})

test('closing the listener ends links and strangers, and is idempotent', async () => {
  const { listener, dialler } = await pair()
  const { host, port } = splitAddress(listener.address)
  const stranger = connectTcp(port, host)
  await new Promise((resolve) => stranger.once('connect', resolve))
  await Promise.all([listener.close(), listener.close()])
  assert.is(await dialler.cause(), 'closed')
  assert.is(await dial(listener.address).handler.cause(), 'refused')
  stranger.destroy()
})

test('a listener that refuses ends what it took and turns others away as if nobody listened', async () => {
  const { listener, dialler, accepter } = await pair()
  listener.refuseLinks(true)
  assert.is(await dialler.cause(), 'closed')
  assert.is(await accepter.cause(), 'lost')
  const refused = new Recorder()
  createSystemNetwork(LIMITS).dial(listener.address, 'control', refused)
  assert.is(await refused.cause(), 'refused')
  assert.not(refused.hasOpened)
  listener.refuseLinks(false)
  const welcome = new Recorder()
  const link = createSystemNetwork(LIMITS).dial(listener.address, 'control', welcome)
  await welcome.until((self) => self.hasOpened)
  link.close()
})

test.run()
