import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { KvError } from '../../src/base/error.ts'
import { parseAddress, parseNodeId } from '../../src/base/ids.ts'
import { parseFaultCommand, peersTouched, resolveFault } from '../../src/wire/faults.ts'

const test = suite('faults')

const PEERS = [
  { nodeId: parseNodeId('alpha'), address: parseAddress('10.0.0.1:7001') },
  { nodeId: parseNodeId('beta'), address: parseAddress('10.0.0.2:7002') },
  { nodeId: parseNodeId('7001-gamma'), address: parseAddress('10.0.0.3:7003') },
]

function refusal(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    assert.instance(error, KvError)
    assert.is((error as KvError).code, 'INVALID_ARGUMENT')
    return (error as KvError).message
  }
  throw new Error('it was not refused')
}

test('what JSON says is taken when it is a fault, field by field', () => {
  const commands = [
    { fault: 'partition', groups: [['a', 'b'], ['c']] },
    { fault: 'isolate', peer: 'a' },
    { fault: 'one-way', from: 'a', to: 'b' },
    { fault: 'drop', between: ['a', 'b'], percent: 12.5 },
    { fault: 'delay', between: ['a', 'b'], delayMs: 200 },
    { fault: 'fail', peer: 'a' },
    { fault: 'recover', peer: 'a' },
    { fault: 'heal' },
  ]
  for (const command of commands)
    assert.equal(parseFaultCommand(JSON.parse(JSON.stringify(command))), command)
})

test('anything else is refused by name', () => {
  const cases: readonly [unknown, RegExp][] = [
    [null, /JSON object/],
    [['heal'], /JSON object/],
    [{}, /'fault' is one of partition, isolate/],
    [{ fault: 'toString' }, /'fault' is one of/],
    [{ fault: 'heal', peer: 'a' }, /'heal' has no field 'peer'/],
    [{ fault: 'isolate' }, /a peer is named by/],
    [{ fault: 'isolate', peer: '' }, /a peer is named by/],
    [{ fault: 'partition', groups: [['a', 'b']] }, /two groups/],
    [{ fault: 'partition', groups: [['a'], []] }, /two groups/],
    [{ fault: 'partition', groups: 'a|b' }, /a list is missing/],
    [{ fault: 'partition', groups: [Array(10_000).fill('a'), ['b']] }, /too long/],
    [{ fault: 'drop', between: ['a'], percent: 1 }, /list of two peers/],
    [{ fault: 'drop', between: ['a', 'b', 'c'], percent: 1 }, /list of two peers/],
    [{ fault: 'drop', between: ['a', 'b'], percent: 101 }, /'percent' is a number from 0 to 100/],
    [{ fault: 'delay', between: ['a', 'b'], delayMs: -1 }, /'delayMs' is a number/],
    [{ fault: 'delay', between: ['a', 'b'], delayMs: '1' }, /'delayMs' is a number/],
  ]
  for (const [raw, words] of cases)
    assert.match(
      refusal(() => parseFaultCommand(raw)),
      words,
    )
})

test('a peer is found by id, address, port, or the beginning of its id, in this order', () => {
  const named = (peer: string) => (resolveFault({ fault: 'fail', peer }, PEERS) as { peer: string }).peer
  assert.is(named('alpha'), 'alpha')
  assert.is(named('10.0.0.2:7002'), 'beta')
  assert.is(named('7001'), 'alpha')
  assert.is(named('7001-'), '7001-gamma')
  assert.is(named('b'), 'beta')
})

test('a name that nobody has, that two have, or that comes twice is refused', () => {
  const twins = [...PEERS, { nodeId: parseNodeId('beth'), address: parseAddress('10.0.0.4:7001') }]
  const isolate = (peer: string) => () => resolveFault({ fault: 'isolate', peer }, twins)
  assert.match(refusal(isolate('9')), /no peer '9'; there are 10\.0\.0\.1:7001/)
  assert.match(refusal(isolate('7001')), /could be 10\.0\.0\.1:7001 or 10\.0\.0\.4:7001/)
  assert.match(refusal(isolate('bet')), /could be/)
  const groups = [['alpha', 'beta'], ['7001']]
  assert.match(
    refusal(() => resolveFault({ fault: 'partition', groups }, PEERS)),
    /10\.0\.0\.1:7001 is named twice/,
  )
  assert.match(
    refusal(() => resolveFault({ fault: 'one-way', from: 'alpha', to: '7001' }, PEERS)),
    /named twice/,
  )
})

test('a command touches the peers it names; an isolation and its end touch all', () => {
  const touched = (command: Parameters<typeof peersTouched>[0]) =>
    peersTouched(resolveFault(command, PEERS), PEERS).map(({ nodeId }) => nodeId)
  assert.equal(touched({ fault: 'partition', groups: [['alpha'], ['beta']] }), ['alpha', 'beta'])
  assert.equal(touched({ fault: 'one-way', from: 'beta', to: '7003' }), ['beta', '7001-gamma'])
  assert.equal(touched({ fault: 'drop', between: ['alpha', 'beta'], percent: 1 }), ['alpha', 'beta'])
  assert.equal(touched({ fault: 'fail', peer: 'beta' }), ['beta'])
  assert.is(touched({ fault: 'isolate', peer: 'beta' }).length, 3)
  assert.is(touched({ fault: 'heal' }).length, 3)
})

test.run()
