import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { KvError } from '../../src/base/error.ts'
import { parseFaultWords } from '../../src/cli/kvctl/fault-words.ts'

const test = suite('kvctl fault')

test('each action takes its words as the manual writes them', () => {
  assert.equal(parseFaultWords('partition', ['7001, 7002|7003']), {
    fault: 'partition',
    groups: [['7001', '7002'], ['7003']],
  })
  assert.equal(parseFaultWords('isolate', ['7001']), { fault: 'isolate', peer: '7001' })
  assert.equal(parseFaultWords('one-way', ['a', 'b']), { fault: 'one-way', from: 'a', to: 'b' })
  assert.equal(parseFaultWords('drop', ['a', 'b', '30%']), {
    fault: 'drop',
    between: ['a', 'b'],
    percent: 30,
  })
  assert.equal(parseFaultWords('delay', ['a', 'b', '200ms']), {
    fault: 'delay',
    between: ['a', 'b'],
    delayMs: 200,
  })
  assert.equal(parseFaultWords('delay', ['a', 'b', '1.5s']), {
    fault: 'delay',
    between: ['a', 'b'],
    delayMs: 1500,
  })
  assert.equal(parseFaultWords('fail', ['a']), { fault: 'fail', peer: 'a' })
  assert.equal(parseFaultWords('recover', ['a']), { fault: 'recover', peer: 'a' })
  assert.equal(parseFaultWords('heal', []), { fault: 'heal' })
  assert.is(parseFaultWords('list', []), 'list')
})

test('too few words, too many, or wrong ones are refused with how it is written', () => {
  const cases: readonly [string, readonly string[], RegExp][] = [
    ['isolate', [], /kvctl fault isolate PEER/],
    ['heal', ['7001'], /kvctl fault heal/],
    ['drop', ['a', 'b'], /kvctl fault drop A B 30%/],
    ['partition', ['7001', '7002'], /kvctl fault partition "A,B\|C"/],
    ['partition', ['7001,7002'], /no partition/],
    ['partition', ['7001,|7002'], /no partition/],
    ['partition', ['|7002'], /no partition/],
    ['drop', ['a', 'b', '130%'], /0% to 100%/],
    ['drop', ['a', 'b', '0.5'], /'0\.5' is no share; write it with its sign, 0% to 100%/],
    ['drop', ['a', 'b', 'some'], /0% to 100%/],
    ['delay', ['a', 'b', '200'], /200ms or 2s/],
    ['delay', ['a', 'b', '100s'], /0 to 60000/],
  ]
  for (const [action, words, message] of cases) {
    try {
      parseFaultWords(action, words)
      assert.unreachable(`${action} ${words.join(' ')} was taken`)
    } catch (error) {
      assert.instance(error, KvError)
      assert.match((error as KvError).message, message)
    }
  }
})

test.run()
