import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseAddress, parseNodeId } from '../../src/base/ids.ts'
import type { MembershipMessage } from '../../src/protocol/membership/messages.ts'
import { LIFE_STATES, MAX_ACCUSERS, type PeerRecord } from '../../src/protocol/membership/peer.ts'
import { packFrame, unpackFrame } from '../../src/wire/frame.ts'
import { membershipMessages } from '../../src/wire/membership-messages.ts'
import { createMessageCodec, MalformedMessage } from '../../src/wire/schema.ts'

const wire = suite('wire: membership messages')
const codec = createMessageCodec(membershipMessages)

const plain = { noNullPrototype: true } as const
const nodeId = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/).map(parseNodeId)
const address = fc.integer({ min: 0, max: 65_535 }).map((port) => parseAddress(`127.0.0.1:${port}`))
const count = fc.nat()
const meta = fc.record(
  {
    zone: fc.string({ maxLength: 32 }),
    weight: fc.integer({ min: 0, max: 1000 }),
    version: fc.constant('1.2.3'),
  },
  plain,
)
const record: fc.Arbitrary<PeerRecord> = fc.record(
  {
    nodeId,
    generation: count,
    incarnation: count,
    state: fc.constantFrom(...LIFE_STATES),
    address,
    bootNonce: fc.string({ maxLength: 32 }),
    meta,
    accusers: fc.array(nodeId, { maxLength: MAX_ACCUSERS }),
  },
  plain,
)
const updates = fc.array(record, { maxLength: 5 })
const probe = { seq: count, generation: count, configuration: count, updates }
const message: fc.Arbitrary<MembershipMessage> = fc.oneof(
  fc.record({ type: fc.constant('ping' as const), ...probe }, plain),
  fc.record({ type: fc.constant('ack' as const), ...probe }, plain),
  fc.record(
    {
      type: fc.constant('pingReq' as const),
      seq: count,
      target: nodeId,
      generation: count,
      address,
      waitMs: fc.nat(60_000),
    },
    plain,
  ),
  fc.record({ type: fc.constant('nack' as const), seq: count, refused: fc.boolean() }, plain),
  fc.record({ type: fc.constant('gossip' as const), configuration: count, updates }, plain),
  fc.record({ type: fc.constant('compare' as const), configuration: count, digest: fc.maxSafeNat() }, plain),
  fc.record(
    {
      type: fc.constant('pushPull' as const),
      configuration: count,
      wantsReply: fc.boolean(),
      peers: updates,
    },
    plain,
  ),
)

wire('every message comes back from its frame as it was', () => {
  fc.assert(
    fc.property(fc.array(message, { maxLength: 4 }), (messages) => {
      const frame = packFrame(messages.map((each) => codec.encode(each)))
      assert.equal(
        unpackFrame(frame).map((raw) => codec.decode(raw)),
        messages,
      )
    }),
  )
})

wire('an idle ping takes at most 24 bytes', () => {
  const ping = { type: 'ping', seq: 100_000, generation: 300, configuration: 70_000, updates: [] } as const
  assert.ok(packFrame([codec.encode(ping)]).length <= 24)
})

wire('what is out of range is malformed: states, accusers, waits, ids, lengths', () => {
  const sound: PeerRecord = {
    nodeId: parseNodeId('a'),
    generation: 1,
    incarnation: 0,
    state: 'suspect',
    address: parseAddress('127.0.0.1:1'),
    bootNonce: 'n',
    meta: { zone: '', weight: 1, version: '1' },
    accusers: [],
  }
  const gossip = (change: object): unknown[] => {
    return codec.encode({ type: 'gossip', configuration: 0, updates: [{ ...sound, ...change }] })
  }
  const [tag, configuration, [update]] = gossip({}) as [number, number, [unknown[]]]
  /** As only a stranger sends it: some fields of the one update are other ones. */
  const forged = (...change: [place: number, field: unknown]): unknown[] => {
    return [tag, configuration, [update.with(...change)]]
  }
  codec.decode(gossip({}))
  codec.decode(forged(6, ['z', 1, '1']))
  codec.decode(forged(7, ['a', 'b', 'c']))
  const broken = [
    gossip({ state: 'risen' }),
    forged(7, ['a', 'b', 'c', 'd']),
    gossip({ generation: -1 }),
    gossip({ incarnation: 0.5 }),
    gossip({ nodeId: '' }),
    gossip({ address: 'nowhere' }),
    forged(6, ['z'.repeat(65), 1, '1']),
    gossip({ meta: { zone: '', weight: 1001, version: '1' } }),
    [tag, configuration, Array.from({ length: 257 }, () => update)],
    codec.encode({ type: 'nack', seq: 2 ** 32, refused: false }),
    [12, 1, 'a', 1, '127.0.0.1:1', 60_001],
    [16, 0, true, Array.from({ length: 4098 }, () => [])],
    [10],
    [10, 1, 1, 1, null],
  ]
  for (const raw of broken) {
    assert.throws(
      () => codec.decode(raw),
      (error: unknown) => error instanceof MalformedMessage,
    )
  }
})

wire('mutated frames are read or refused, never worse', () => {
  fc.assert(
    fc.property(message, fc.nat(), fc.nat(255), (original, place, byte) => {
      const frame = packFrame([codec.encode(original)])
      frame[place % frame.length] = byte
      try {
        for (const raw of unpackFrame(frame)) codec.decode(raw)
      } catch (error) {
        assert.ok(error instanceof MalformedMessage, String(error))
      }
    }),
    { numRuns: 1000 },
  )
})

wire.run()
