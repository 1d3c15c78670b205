import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { KvError } from '../../src/base/error.ts'
import { PEER_OPTIONS } from '../../src/config/option-table.ts'
import { clientReplyCodec, clientRequestCodec } from '../../src/wire/client-messages.ts'
import { parseLayoutChange } from '../../src/wire/layout.ts'

const NOTHING = { peer: null, replaces: null, weight: null, zone: null, number: null, acceptLoss: false }

function refusal(given: unknown): string {
  try {
    parseLayoutChange(given)
  } catch (error) {
    if (error instanceof KvError && error.code === 'INVALID_ARGUMENT') return error.message
    throw error
  }
  throw new Error(`it was taken: ${JSON.stringify(given)}`)
}

test('a change of the layout says what its action needs, and nothing else', () => {
  assert.equal(parseLayoutChange({ action: 'leave', peer: 'a:1' }), {
    ...NOTHING,
    action: 'leave',
    peer: 'a:1',
  })
  assert.equal(parseLayoutChange({ action: 'clear' }), { ...NOTHING, action: 'clear' })
  assert.equal(parseLayoutChange({ ...NOTHING, action: 'apply', number: 7 }).number, 7)
  assert.match(refusal({ action: 'leave' }), /leave needs peer/)
  assert.match(refusal({ action: 'leave', peer: 'a:1', weight: 3 }), /leave takes no weight/)
  assert.match(refusal({ action: 'apply', peer: 'a:1', number: 7 }), /apply takes no peer/)
  assert.match(refusal({ action: 'leave', peer: 'a:1', sudo: true }), /takes no sudo/)
})

test('what is no such thing is refused in words', () => {
  assert.match(refusal(null), /an object with an action/)
  assert.match(refusal({ action: 'explode' }), /action is one of join, leave/)
  assert.match(refusal({ action: 'leave', peer: '' }), /address or id/)
  assert.match(refusal({ action: 'weight', peer: 'a:1', weight: 0 }), /from 1 to 1000/)
  assert.match(refusal({ action: 'weight', peer: 'a:1', weight: Number.NaN }), /from 1 to 1000/)
  for (const zone of ['x'.repeat(65), 'bad zone', '-', 'Straße']) {
    assert.match(refusal({ action: 'zone', peer: 'a:1', zone }), /a zone is up to 64 characters of A-Z/)
    assert.not(PEER_OPTIONS.zone.schema.safeParse(zone).success, 'kvnode --zone refuses it too')
  }
  assert.match(refusal({ action: 'apply', number: 1.5 }), /kvctl layout plan/)
})

test('a layout, a plan and a change come back as they were sent', () => {
  const staged = [
    {
      peer: 'n1',
      peerAddress: 'a:1',
      kind: 'join',
      zone: '',
      weight: 100,
      replaces: 'n2',
      replacesAddress: 'b:1',
    },
  ] as const
  const member = { peer: 'n0', peerAddress: 'c:1', zone: 'z', weight: 100, partitions: 384 }
  const layout = {
    type: 'layoutDone',
    id: 1,
    number: 7,
    phase: 'stable',
    manual: true,
    partitionCount: 512,
    members: [member],
    staged,
    history: [{ number: 7, reason: 'finish', decidedBy: 'c:1', decidedAtMs: 5 }],
  } as const
  assert.equal(clientReplyCodec.decode(clientReplyCodec.encode(layout)), layout)
  const peer = { ...member, before: 512, given: 128, received: 0, bytes: 0, fair: 384.5, most: 403 }
  const plan = {
    type: 'planLayoutDone',
    id: 1,
    number: 7,
    staged,
    peers: [peer],
    moves: 384,
    idealMoves: 384,
    bytes: 1,
    silent: ['d:1'],
  } as const
  assert.equal(clientReplyCodec.decode(clientReplyCodec.encode(plan)), plan)
  const change = { type: 'changeLayout', id: 1, ...parseLayoutChange({ action: 'manual' }) } as const
  assert.equal(clientRequestCodec.decode(clientRequestCodec.encode(change)), change)
})

test.run()
