import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Address, parseAddress, splitAddress } from '../../src/base/ids.ts'
import { createSystemNetwork, type RequestHandler } from '../../src/platform/ws-network.ts'

const closers: (() => Promise<void> | void)[] = []
const test = suite('http turns')
test.after.each(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function serve(handler: RequestHandler, silentTimeoutMs = 60_000): Promise<Address> {
  const network = createSystemNetwork({ maxFrameBytes: 1024, silentTimeoutMs, closeTimeoutMs: 1 })
  network.setRequestHandler(handler)
  const listener = await network.listen(parseAddress('127.0.0.1:0'), () => {})
  closers.push(() => listener.close())
  return listener.address
}

function dial(address: Address): Socket {
  const { host, port } = splitAddress(address)
  const socket = connect(port, host)
  socket.on('error', () => {}) // A reset is one of the ways in which a connection ends.
  closers.push(() => void socket.destroy())
  return socket
}

/** What a test waits for, looked at whenever `changed` is called. */
class Condition {
  #look: () => void = () => {}

  readonly changed = (): void => this.#look()

  until(isMet: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#look = () => {
        if (isMet()) resolve()
      }
      this.#look()
    })
  }
}

function collect(socket: Socket, condition: Condition): { text: string } {
  const heard = { text: '' }
  socket.setEncoding('latin1').on('data', (text: string) => {
    heard.text += text
    condition.changed()
  })
  return heard
}

const get = (path: string | number): string => `GET /${path} HTTP/1.1\r\nHost: x\r\n\r\n`
const put = (path: string, body: string): string =>
  `PUT /${path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = ''
  for await (const part of request) body += part
  return body
}

test('of what one connection asks at once a few are under way, and the rest is not read', async () => {
  const count = 20_000
  const condition = new Condition()
  const begun: { path: string; response: ServerResponse; socket: Socket }[] = []
  const address = await serve((request, response) => {
    begun.push({ path: request.url ?? '', response, socket: request.socket })
    condition.changed()
  })
  const client = dial(address)
  const heard = collect(client, condition)
  client.write(Array.from({ length: count }, (_, i) => get(i)).join(''))
  await condition.until(() => begun.length === 4)
  let highest = 0
  for (let i = 0; i < count; i++) {
    await condition.until(() => begun.length > i)
    const { path, response, socket } = begun[i] as (typeof begun)[number]
    if (i === 0) assert.ok(socket.bytesRead <= 2 * 65_536, `${socket.bytesRead} bytes were read`)
    assert.is(path, `/${i}`)
    highest = Math.max(highest, begun.length - i)
    response.end(`<${i}>`)
  }
  assert.ok(highest <= 5, `${highest} were under way`)
  await condition.until(() => heard.text.includes(`<${count - 1}>`))
  const answers = [...heard.text.matchAll(/<(\d+)>/g)].map(([, number]) => Number(number))
  assert.equal(
    answers,
    Array.from({ length: count }, (_, i) => i),
  )
})

test('requests that may change something go alone, in order, however their bodies arrive', async () => {
  const events: string[] = []
  const condition = new Condition()
  const address = await serve(async (request, response) => {
    const name = `${request.method} ${request.url}`
    events.push(`+${name}`)
    const body = await bodyOf(request)
    await new Promise((resolve) => setImmediate(resolve))
    events.push(`-${name}`)
    response.end(`<${body.length}>`)
    condition.changed()
  })
  const client = dial(address)
  const heard = collect(client, condition)
  const long = 'v'.repeat(300_000)
  const bytes = [get(1), put('2', 'body'), put('3', long), get(4), get(5), put('6', long), get(7)].join('')
  const cut = bytes.indexOf('PUT /6') + 200
  client.write(bytes.slice(0, cut))
  await condition.until(() => events.includes('-GET /5'))
  client.write(bytes.slice(cut))
  await condition.until(() => heard.text.includes('<300000>') && events.includes('-GET /7'))
  const names = ['GET /1', 'PUT /2', 'PUT /3', 'GET /4', 'GET /5', 'PUT /6', 'GET /7']
  assert.equal(
    events.filter((event) => event.startsWith('+')).map((event) => event.slice(1)),
    names,
  )
  for (const name of names.filter((one) => one.startsWith('PUT'))) {
    assert.is(events.indexOf(`-${name}`), events.indexOf(`+${name}`) + 1, `${name} was alone`)
  }
})

test('what waits when its connection closes never begins, and what is under way hears of it', async () => {
  const condition = new Condition()
  let begun = 0
  let closed = 0
  const address = await serve((_, response) => {
    begun++
    response.once('close', () => {
      closed++
      condition.changed()
    })
    condition.changed()
  })
  const client = dial(address)
  client.write(get('x').repeat(100))
  await condition.until(() => begun === 4)
  client.destroy()
  // The paused side learns of the end when it writes or reads again; a listener that closes cuts it.
  await closers[0]?.()
  await condition.until(() => closed === 4)
  assert.is(begun, 4)
})

test('whoever does not take an answer is cut after a while', async () => {
  const condition = new Condition()
  let hasClosed = false
  const address = await serve((_, response) => {
    response.once('close', () => {
      hasClosed = true
      condition.changed()
    })
    response.end(Buffer.alloc(64 * 1024 * 1024))
  }, 100)
  const client = dial(address)
  client.pause()
  client.write(get('large'))
  await condition.until(() => hasClosed)
})

test.run()
