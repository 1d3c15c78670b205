import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { KvError } from '../../src/base/error.ts'
import { changeLine } from '../../src/cli/kvctl/cluster-actions.ts'
import { parseStageWords, replace, stageChange } from '../../src/cli/kvctl/layout-actions.ts'
import { type LayoutChange, type LayoutInfo, parseLayoutChange } from '../../src/wire/layout.ts'
import type { KvService } from '../../src/wire/requests.ts'
import { printed } from './printed.ts'

test('words say what is staged', () => {
  const cases = [
    ['join a:1', { action: 'join', peer: 'a:1' }],
    ['leave a:1', { action: 'leave', peer: 'a:1' }],
    ['remove a:1', { action: 'remove', peer: 'a:1' }],
    ['weight a:1 200', { action: 'weight', peer: 'a:1', weight: 200 }],
    ['zone a:1 b', { action: 'zone', peer: 'a:1', zone: 'b' }],
    ['replace old:1 new:1', { action: 'replace', replaces: 'old:1', peer: 'new:1' }],
    ['clear', { action: 'clear' }],
    ['clear a:1', { action: 'clear', peer: 'a:1' }],
  ] as const
  for (const [words, change] of cases) {
    assert.equal(parseStageWords(words.split(' ')), parseLayoutChange(change), words)
  }
})

test('words that say too much or too little are answered with how it is written', () => {
  for (const [words, message] of [
    ['', /cannot be staged; allowed: join, leave/],
    ['explode a:1', /'explode' cannot be staged/],
    ['leave', /'kvctl layout stage leave PEER'/],
    ['leave a:1 b:1', /stage leave PEER'/],
    ['weight a:1', /stage weight PEER NUMBER'/],
    ['replace a:1', /stage replace OLD NEW'/],
    ['clear a:1 b:1', /stage clear \[PEER\]'/],
    ['weight a:1 heavy', /whole number from 1 to 1000/],
  ] as const) {
    assert.throws(
      () => parseStageWords(words.split(' ')),
      (error: unknown) => error instanceof KvError && message.test(error.message),
      words,
    )
  }
})

test('no zone is not called by the dash that tables show', async () => {
  const alter = { peer: 'n1', peerAddress: 'a:1', kind: 'alter', weight: null, replaces: null } as const
  const staged = ['', 'attic'].map((zone) => ({ ...alter, zone, replacesAddress: null }))
  const service = { changeLayout: async () => ({ staged }) } as unknown as KvService
  const { out } = await printed(() => stageChange(service, ['zone', 'a:1', ''], false))
  assert.match(out, /a:1 gets no zone\n {2}a:1 gets zone attic/)
})

test('who waits takes the place of a dead peer at once, unless there is more to look at', async () => {
  const asked = async (layout: Partial<LayoutInfo>): Promise<unknown[]> => {
    const changes: LayoutChange[] = []
    const changeLayout = async (change: LayoutChange): Promise<LayoutInfo> => {
      changes.push(change)
      return { number: 7, manual: false, members: [], staged: [{}], ...layout } as unknown as LayoutInfo
    }
    const service = { changeLayout, keyspaces: async () => [] } as unknown as KvService
    await printed(() => replace(service, 'old:1', 'new:1', true, true))
    return changes.map(({ action, peer, replaces, number, acceptLoss }) => {
      return action === 'apply' ? { action, number, acceptLoss } : { action, peer, replaces }
    })
  }
  const staged = { action: 'replace', peer: 'new:1', replaces: 'old:1' }
  assert.equal(await asked({}), [staged, { action: 'apply', number: 7, acceptLoss: true }])
  assert.equal(await asked({ manual: true }), [staged])
  assert.equal(await asked({ staged: [{}, {}] as unknown as LayoutInfo['staged'] }), [staged])
})

test('the line of an open change says who comes, how far it is and how long it will take', () => {
  const change = { number: 12, what: '1 peer joins', bytes: 2 ** 20, expectedBytes: 2 ** 22 }
  const open = { ...change, done: 41, total: 128, leftMs: 20_000 }
  assert.is(
    changeLine(open, 'begun'),
    'change 12: 1 peer joins; 41 of 128 partitions streamed (1.0 MiB of 4.0 MiB), about 20 s left',
  )
  assert.match(changeLine({ ...open, total: null, leftMs: null }, 'begun'), /asking what there is to stream$/)
  assert.match(
    changeLine({ ...open, done: 128, leftMs: null }, 'begun'),
    /128 partitions streamed, now compared/,
  )
  assert.match(changeLine({ ...open, done: 0, total: 0, leftMs: null }, 'begun'), /nothing is streamed/)
  assert.match(changeLine(open, 'switched'), /compared once more/)
})

test.run()
