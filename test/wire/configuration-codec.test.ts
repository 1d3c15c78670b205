import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { parseClusterId, parseNodeId } from '../../src/base/ids.ts'
import type { Configuration, Layout, Member } from '../../src/protocol/configuration.ts'
import {
  begin,
  createKeyspace,
  finish,
  firstConfiguration,
  switchOver,
} from '../../src/protocol/configuration-change.ts'
import { findFlaw } from '../../src/protocol/configuration-check.ts'
import { decodeConfiguration, encodeConfiguration } from '../../src/wire/configuration-codec.ts'
import { pack, unpack } from '../../src/wire/msgpack.ts'
import { DEFAULT_KEYSPACE_OPTIONS } from '../../src/wire/requests.ts'
import { MalformedMessage } from '../../src/wire/schema.ts'

const member = (name: string, zone = ''): Member => ({ nodeId: parseNodeId(name), zone, weight: 1 })

function sample(joining: number): Configuration {
  const clusterId = parseClusterId('cluster')
  const founder = { clusterId, member: member('a', 'zurich_1'), acceptorId: 'votes', partitionCount: 16 }
  const one = firstConfiguration({ ...founder, nowMs: 1_790_000_000_000.5 })
  const newcomers = Array.from({ length: joining }, (_, i) => member(`b${i}`, `zone${i % 2}`))
  return createKeyspace(
    begin(one, { joining: newcomers }, 2),
    'cities',
    { ...DEFAULT_KEYSPACE_OPTIONS, w: 'all', r: 1 },
    3,
  )
}

const isMalformed = (error: unknown): boolean => error instanceof MalformedMessage

test('what was encoded comes back, with the same bytes', () => {
  const begun = { ...sample(4), removed: [parseNodeId('gone')], excluded: [parseNodeId('b1')] }
  const switched = switchOver(begun, 4)
  const acceptors = switched.members.map(({ nodeId }) => ({ nodeId, acceptorId: `votes of ${nodeId}` }))
  for (const configuration of [begun, switched, finish(switched, acceptors, 5)]) {
    const encoded = encodeConfiguration(configuration)
    const decoded = decodeConfiguration(encoded)
    assert.equal(
      JSON.parse(JSON.stringify(decoded)),
      JSON.parse(JSON.stringify({ ...configuration, layouts: decoded.layouts })),
    )
    decoded.layouts.forEach((layout, i) => {
      const before = configuration.layouts[i] as Layout
      assert.equal(layout.members, before.members)
      assert.equal(new Uint8Array(layout.rows), new Uint8Array(before.rows))
    })
    assert.equal(encodeConfiguration(decoded), encoded)
  }
})

test('equal configurations have equal bytes, whatever their history', () => {
  assert.equal(encodeConfiguration(sample(5)), encodeConfiguration(structuredClone(sample(5))))
})

test('a thousand members in the middle of a change stay small', () => {
  const members = Array.from({ length: 1000 }, (_, i) =>
    member(`V1StGXR8_Z5jdHi6B-${String(i).padStart(3, '0')}`),
  )
  const layout = (count: number): Layout => {
    const rows = new Uint8Array(512 * 7 * 2)
    for (let i = 0; i < 512 * 7; i++)
      new DataView(rows.buffer).setUint16(2 * i, (Math.floor(i / 7) + (i % 7)) % count)
    return { members: members.slice(0, count).map(({ nodeId }) => nodeId), depth: 7, rows }
  }
  const base = sample(1)
  const configuration: Configuration = {
    ...base,
    partitionCount: 512,
    members,
    layouts: [layout(990), layout(1000)],
  }
  const acceptors = members.slice(0, 7).map(({ nodeId }) => ({ nodeId, acceptorId: nodeId }))
  const encoded = encodeConfiguration({ ...configuration, acceptors })
  assert.is(findFlaw(decodeConfiguration(encoded)), null)
  assert.ok(encoded.length < 48_000, `${encoded.length} bytes`)
})

test('of mangled bytes nothing gets through but malformed, or a sound configuration', () => {
  const encoded = encodeConfiguration(sample(4))
  const change = fc.record({ at: fc.nat(encoded.length - 1), to: fc.integer({ min: 0, max: 255 }) })
  let survivors = 0
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), fc.nat(encoded.length), (changes, cut) => {
      const mangled = encoded.slice(0, cut % 5 === 0 ? cut : encoded.length)
      for (const { at, to } of changes) if (at < mangled.length) mangled[at] = to
      try {
        const decoded = decodeConfiguration(mangled)
        assert.is(findFlaw(decoded), null)
        assert.equal(encodeConfiguration(decoded), mangled)
        survivors++
      } catch (error) {
        assert.ok(isMalformed(error), String(error))
      }
    }),
    { numRuns: 3000 },
  )
  assert.ok(survivors < 1500, 'most damage shows')
})

test('random bytes are malformed', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      assert.throws(() => decodeConfiguration(bytes), isMalformed)
    }),
    { numRuns: 1000 },
  )
})

test('another format, more fields or another way of writing are refused', () => {
  const fields = unpack(encodeConfiguration(sample(2))) as unknown[]
  const withField = (index: number, value: unknown): Uint8Array =>
    pack(fields.map((old, i) => (i === index ? value : old)))
  assert.throws(
    () => decodeConfiguration(withField(0, 3)),
    (error: unknown) => isMalformed(error) && /format 3/.test(String(error)),
  )
  assert.throws(() => decodeConfiguration(pack([...fields, null])), isMalformed)
  assert.throws(() => decodeConfiguration(withField(5, ['', 'unused'])), isMalformed)
  assert.throws(() => decodeConfiguration(new Uint8Array(5 * 1024 * 1024)), isMalformed)
})

test.run()
