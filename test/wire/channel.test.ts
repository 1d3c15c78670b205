import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Clock } from '../../src/effects/clock.ts'
import type { CloseCause, Link, LinkHandler } from '../../src/effects/network.ts'
import { Channel, type ChannelHandler } from '../../src/wire/channel.ts'
import {
  FRAME_TARGET_BYTES,
  MAX_FRAME_BYTES,
  MAX_FRAME_MESSAGES,
  packFrame,
  unpackFrame,
} from '../../src/wire/frame.ts'
import { bytes, createMessageCodec, MalformedMessage, type MessageOf, uint } from '../../src/wire/schema.ts'

const test = suite('channel')

const table = { note: [1, { n: uint() }], load: [2, { data: bytes(4 * FRAME_TARGET_BYTES) }] } as const
const codec = createMessageCodec(table)
type Message = MessageOf<typeof table>

/** A clock whose turns of the event loop end when the test says so. */
class TurnClock implements Clock {
  nowMs = 5
  #deferred: (() => void)[] = []

  now(): number {
    return this.nowMs
  }

  monotonic(): number {
    return this.nowMs
  }

  setTimer(): never {
    throw new Error('a channel needs no timer')
  }

  defer(run: () => void): void {
    this.#deferred.push(run)
  }

  endTurn(): void {
    const runs = this.#deferred
    this.#deferred = []
    for (const run of runs) run()
  }
}

class RecordedLink implements Link {
  readonly remote = 'there'
  readonly frames: Uint8Array[] = []
  readonly events: string[] = []
  bufferedBytes = 0

  setHandler(_handler: LinkHandler): void {}

  send(frame: Uint8Array): void {
    this.frames.push(frame)
    this.events.push('send')
  }

  close(): void {
    this.events.push('close')
  }

  terminate(): void {
    this.events.push('terminate')
  }
}

class Recorder implements ChannelHandler<Message> {
  readonly heard: Message[] = []
  readonly ends: [CloseCause, string | null][] = []
  react: (message: Message) => void = () => {}

  opened(): void {}

  received(message: Message): void {
    this.heard.push(message)
    this.react(message)
  }

  closed(cause: CloseCause, reason: string | null): void {
    this.ends.push([cause, reason])
  }
}

function connected() {
  const clock = new TurnClock()
  const link = new RecordedLink()
  const handler = new Recorder()
  const channel = new Channel<Message, Message>(codec, codec, clock, handler)
  channel.attach(link)
  return { clock, link, handler, channel }
}

const note = (n: number): Message => ({ type: 'note', n })
const framesOf = (link: RecordedLink): unknown[][] => link.frames.map((frame) => unpackFrame(frame))

test('what is sent in one turn leaves in one frame, in order', () => {
  const { channel, clock, link } = connected()
  channel.send(note(1))
  channel.send(note(2))
  assert.equal(link.frames, [])
  clock.endTurn()
  channel.send(note(3))
  clock.endTurn()
  assert.equal(framesOf(link), [
    [
      [1, 1],
      [1, 2],
    ],
    [[1, 3]],
  ])
})

test('a turn in which nothing is sent sends no frame', () => {
  const { channel, clock, link } = connected()
  channel.send(note(1))
  clock.endTurn()
  clock.endTurn()
  assert.is(link.frames.length, 1)
})

test('past its target size a frame leaves at once', () => {
  const { channel, clock, link } = connected()
  const data = new Uint8Array(FRAME_TARGET_BYTES)
  channel.send({ type: 'load', data }, data.length)
  assert.is(link.frames.length, 1)
  channel.send(note(1))
  clock.endTurn()
  assert.is(link.frames.length, 2)
})

test('no frame has more messages than a receiver takes', () => {
  const { channel, clock, link } = connected()
  for (let i = 0; i < MAX_FRAME_MESSAGES + 5; i++) channel.send(note(i))
  clock.endTurn()
  assert.equal(
    framesOf(link)
      .map((messages) => messages.length)
      .reduce((sum, count) => sum + count, 0),
    MAX_FRAME_MESSAGES + 5,
  )
  assert.ok(link.frames.length >= 2)
})

test('what its receiver would refuse is not sent, and the link goes on', () => {
  const { channel, clock, link } = connected()
  const tooLong = new Uint8Array(4 * FRAME_TARGET_BYTES + 1)
  assert.match(
    channel.send({ type: 'load', data: tooLong }, tooLong.length) ?? '',
    'length that is not allowed',
  )
  assert.is(channel.send(note(1)), null)
  clock.endTurn()
  assert.equal(framesOf(link), [[[1, 1]]])
  assert.equal(link.events, ['send'])
})

test('what no frame holds is not sent, and what was sent before it is', () => {
  const wide = createMessageCodec({ load: [2, { data: bytes(2 * MAX_FRAME_BYTES) }] })
  const link = new RecordedLink()
  const handler = { opened() {}, received() {}, closed() {} }
  const channel = new Channel(wide, wide, new TurnClock(), handler)
  channel.attach(link)
  channel.send({ type: 'load', data: Uint8Array.of(1) }, 1)
  const data = new Uint8Array(MAX_FRAME_BYTES)
  assert.match(channel.send({ type: 'load', data }, data.length) ?? '', 'no frame holds')
  assert.equal(
    framesOf(link).map((messages) => messages.length),
    [1],
  )
})

test('a large message shares its frame with no other', () => {
  const { channel, clock, link } = connected()
  channel.send(note(1))
  const data = new Uint8Array(FRAME_TARGET_BYTES)
  assert.is(channel.send({ type: 'load', data }, data.length), null)
  channel.send(note(2))
  clock.endTurn()
  assert.equal(
    framesOf(link).map((messages) => messages.length),
    [1, 1, 1],
  )
})

test('what waits counts as buffered, beside what the link holds', () => {
  const { channel, clock, link } = connected()
  link.bufferedBytes = 100
  channel.send({ type: 'load', data: new Uint8Array(1000) }, 1000)
  assert.ok(channel.bufferedBytes >= 1100)
  clock.endTurn()
  assert.is(channel.bufferedBytes, 100)
})

test('closing sends what waits first', () => {
  const { channel, link } = connected()
  channel.send(note(1))
  channel.close()
  assert.equal(link.events, ['send', 'close'])
})

test('terminating drops what waits, and tells why', () => {
  const { channel, clock, link, handler } = connected()
  channel.send(note(1))
  channel.terminate('silent')
  channel.terminate('once more')
  clock.endTurn()
  assert.not(link.events.includes('send'))
  channel.closed('lost')
  assert.equal(handler.ends, [['lost', 'silent']])
})

test('frames come apart into messages again, in order', () => {
  const { channel, handler } = connected()
  channel.received(packFrame([codec.encode(note(1)), codec.encode(note(2))]))
  assert.equal(handler.heard, [note(1), note(2)])
})

test('when the last sign of life came is known: a frame, or one that is on its way', () => {
  const { channel, clock } = connected()
  assert.is(channel.lastHeardMs, 5)
  clock.nowMs = 9
  channel.received(packFrame([]))
  assert.is(channel.lastHeardMs, 9)
  clock.nowMs = 12
  channel.progressed()
  assert.is(channel.lastHeardMs, 12)
})

test('a malformed frame ends the link', () => {
  const { channel, link, handler } = connected()
  channel.received(Uint8Array.of(1, 2, 3))
  assert.equal(link.events, ['terminate'])
  channel.closed('lost')
  assert.match(handler.ends[0]?.[1] ?? '', 'malformed message')
})

test('messages before a malformed one are heard, those after it are not', () => {
  const { channel, link, handler } = connected()
  channel.received(packFrame([codec.encode(note(1)), [99], codec.encode(note(2))]))
  assert.equal(handler.heard, [note(1)])
  assert.equal(link.events, ['terminate'])
})

test('a handler that ends the link hears no more of the same frame', () => {
  const { channel, handler } = connected()
  handler.react = () => channel.terminate('enough')
  channel.received(packFrame([codec.encode(note(1)), codec.encode(note(2))]))
  assert.equal(handler.heard, [note(1)])
})

test('a handler that finds a message malformed inside ends the link too', () => {
  const { channel, link, handler } = connected()
  handler.react = () => {
    throw new MalformedMessage('a configuration that is none')
  }
  channel.received(packFrame([codec.encode(note(1))]))
  assert.equal(link.events, ['terminate'])
})

test('any other error of the handler is its own bug, and is not swallowed', () => {
  const { channel, handler } = connected()
  handler.react = () => {
    throw new TypeError('a bug')
  }
  assert.throws(() => channel.received(packFrame([codec.encode(note(1))])), /a bug/)
})

test('what is sent before there is a link is kept for it', () => {
  const clock = new TurnClock()
  const link = new RecordedLink()
  const channel = new Channel<Message, Message>(codec, codec, clock, new Recorder())
  channel.send(note(1))
  clock.endTurn()
  channel.attach(link)
  channel.send(note(2))
  clock.endTurn()
  assert.is(framesOf(link).flat().length, 2)
})

test.run()
