import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseNodeId } from '../../src/base/ids.ts'
import { clientReplyCodec, clientRequestCodec } from '../../src/wire/client-messages.ts'
import { peerCodec } from '../../src/wire/peer-messages.ts'
import { MalformedMessage } from '../../src/wire/schema.ts'
import { MAX_TASKS } from '../../src/wire/task-messages.ts'

const test = suite('messages about tasks')

const TASK = {
  kind: 'repair',
  state: 'running',
  round: 'a-round',
  keyspace: null,
  unit: 'partitions',
  done: 3,
  total: 512,
  ageMs: 1200,
  endedAgoMs: null,
  failure: null,
  differing: 7,
  repaired: 5,
  failed: 1,
  bytes: 9000,
  expectedBytes: null,
} as const

function refused(decode: () => unknown): void {
  assert.throws(decode, (error: unknown) => error instanceof MalformedMessage)
}

test('they come back as they were sent, between peers and to clients', () => {
  const listed = { type: 'tasksListed', id: 4, tasks: [{ ...TASK, with: parseNodeId('n1') }] } as const
  assert.equal(peerCodec.decode(peerCodec.encode(listed)), listed)
  const info = { ...TASK, peer: 'n0', peerAddress: 'a:1', with: 'n1', withAddress: 'b:1', leftMs: 200 }
  const told = { type: 'tasksDone', id: 4, tasks: [info], silent: ['c:1'] } as const
  assert.equal(clientReplyCodec.decode(clientReplyCodec.encode(told)), told)
  const asked = { type: 'repair', id: 5, keyspace: null, round: 'a-round', acceptLoss: false } as const
  assert.equal(clientRequestCodec.decode(clientRequestCodec.encode(asked)), asked)
})

test('a round without a proper name is no message', () => {
  const good = clientRequestCodec.encode({
    type: 'repair',
    id: 5,
    keyspace: 'default',
    round: 'name',
    acceptLoss: false,
  })
  for (const name of ['', 'two words', 'x'.repeat(65), 7, null, 'a\u0000b']) {
    refused(() => clientRequestCodec.decode([...good.slice(0, 3), name, false]))
  }
  const begin = peerCodec.encode({
    ...{ type: 'beginRepair', id: 1, number: 3 },
    ...{ round: 'name', keyspaceId: null, acceptLoss: true },
  } as const)
  assert.equal(peerCodec.decode(begin).type, 'beginRepair')
  refused(() => peerCodec.decode([begin[0], 1, 3, 'no name', null, false]))
  refused(() => peerCodec.decode([begin[0], 1, 3, 'name', -1, false]))
  refused(() => peerCodec.decode([begin[0], 1, 3, 'name', null, 'yes']))
})

test('more tasks than a peer may have, or figures that are none, are no message', () => {
  const raw = peerCodec.encode({ type: 'tasksListed', id: 4, tasks: [{ ...TASK, with: null }] })
  const [row] = raw[2] as unknown[][]
  refused(() => peerCodec.decode([raw[0], 4, Array.from({ length: MAX_TASKS + 1 }, () => row)]))
  for (const [place, value] of [
    [0, 99],
    [5, -1],
    [5, 1.5],
    [7, Number.NaN],
    [9, 'x'.repeat(1025)],
  ] as const) {
    const changed = [...(row as unknown[])]
    changed[place] = value
    refused(() => peerCodec.decode([raw[0], 4, [changed]]))
  }
})

test.run()
