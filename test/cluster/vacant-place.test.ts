import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseAddress, parseClusterId, parseNodeId } from '../../src/base/ids.ts'
import { judgePlace } from '../../src/cluster/vacant-place.ts'
import type { KnownPlaces } from '../../src/wire/handshake-messages.ts'

const test = suite('vacant place')

const HERE = parseAddress('10.0.0.3:7000')
const ELSEWHERE = parseAddress('10.0.0.9:7000')
const clusterId = parseClusterId('cluster')
const [a, b, c] = [parseNodeId('a'), parseNodeId('b'), parseNodeId('c')]

type Row = KnownPlaces['members'][number]

function row(nodeId: typeof a, rest: Partial<Row> = {}): Row {
  return { nodeId, address: parseAddress(`10.0.0.${nodeId}:7000`), generation: 1, isUp: true, ...rest }
}

/** Member c was here, and is gone. */
const GONE = row(c, { address: HERE, isUp: false, generation: 4 })

function says(from: typeof a, third: Row, number = 7): KnownPlaces {
  return { from, clusterId, number, members: [row(a), row(b), third] }
}

test('when all other members say that the one who was here is gone, its place is vacant', () => {
  const verdict = judgePlace(HERE, [says(a, GONE), says(b, GONE)])
  assert.equal(verdict, { kind: 'vacant', vacancy: { nodeId: c, clusterId, generation: 4 } })
})

test('while one of them has not answered nothing is decided, and it is asked', () => {
  const verdict = judgePlace(HERE, [says(a, GONE)])
  assert.is(verdict.kind, 'undecided')
  assert.ok(verdict.kind === 'undecided' && verdict.toAsk.includes(row(b).address as typeof HERE))
  assert.is(
    judgePlace(HERE, [says(a, GONE), says(b, GONE, 6)]).kind,
    'undecided',
    'it does not know the newest',
  )
})

test('while anybody believes it up nothing is decided', () => {
  assert.is(judgePlace(HERE, [says(a, GONE), says(b, { ...GONE, isUp: true })]).kind, 'undecided')
})

test('what somebody believed who is no member any more does not count: he never says otherwise', () => {
  const given = says(parseNodeId('d'), { ...GONE, isUp: true }, 6)
  const members = [says(a, GONE), says(b, GONE)]
  assert.is(judgePlace(HERE, [given, ...members]).kind, 'vacant')
  assert.is(judgePlace(HERE, [...members, given]).kind, 'vacant')
})

test('when anybody knows a later life of it elsewhere the place is not taken', () => {
  const moved = row(c, { address: ELSEWHERE, generation: 5, isUp: false })
  for (const answers of [
    [says(a, GONE), says(b, moved)],
    [says(a, moved), says(b, GONE)],
  ]) {
    assert.is(judgePlace(HERE, answers).kind, 'free')
  }
})

test('where no member was, one answer is enough', () => {
  assert.is(judgePlace(ELSEWHERE, [says(a, GONE)]).kind, 'free')
})

test('who is in no cluster says nothing', () => {
  const stranger = { from: b, clusterId: null, number: 0, members: [] }
  assert.is(judgePlace(HERE, []).kind, 'undecided')
  assert.is(judgePlace(HERE, [stranger]).kind, 'undecided')
})

test.run()
