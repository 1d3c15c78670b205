import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { connect } from '../../src/api/connect.ts'
import type { LayoutInfo, LayoutPlanInfo } from '../../src/wire/layout.ts'
import { endAll, isFormed, PeerProcess, run, scratchDirectory, until } from '../processes/peers.ts'

const test = suite('staged changes of the ring')
const KEYS = 500
const peers: PeerProcess[] = []

test.after(() => endAll(peers))

async function kvctl(...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await run('kvctl', [...words, '--peer', peers[0]?.address ?? ''])
  assert.is(code, 0, stderr)
  return stdout
}

const json = async (...words: string[]): Promise<unknown> => JSON.parse(await kvctl(...words, '--json'))

test('a peer that joins waits until its plan was looked at and applied; then it takes its part', async () => {
  const directory = scratchDirectory()
  const first = new PeerProcess(join(directory, '0'), { args: ['--manual-layout'] })
  await first.start()
  const second = new PeerProcess(join(directory, '1'), { args: ['--join', first.address] })
  peers.push(first, second)
  const client = await connect(first.address)
  await Promise.all(Array.from({ length: KEYS }, (_, i) => client.put(`key-${i}`, `value ${i}`)))
  client.close()

  const ready = second.start()
  await until([first], ({ peers: seen }) => seen.some(({ state }) => state === 'UJ'))
  let staged: LayoutInfo['staged'] = []
  while (staged.length === 0) staged = ((await json('layout', 'show')) as LayoutInfo).staged
  assert.is(staged[0]?.kind, 'join')

  const plan = (await json('layout', 'plan')) as LayoutPlanInfo
  const newcomer = plan.peers.find(({ before }) => before === 0)
  assert.equal([newcomer?.received, plan.moves, plan.idealMoves], [512, 512, 512])
  assert.ok(plan.bytes > KEYS * 'value'.length, 'what is to be streamed is known')
  const shown = await kvctl('layout', 'plan')
  assert.match(shown, new RegExp(`kvctl layout apply --number ${plan.number}`))
  assert.match(shown, /^moves: 512 copies of partitions, about .* 1\.00 times the least that would do$/m)

  const late = await run('kvctl', ['layout', 'apply', '--number', '1', '--peer', first.address])
  assert.is(late.code, 2)
  assert.match(late.stderr, /look at 'kvctl layout plan' again/)
  const applied = await kvctl('layout', 'apply', '--number', String(plan.number))
  assert.match(applied, new RegExp(`^change ${plan.number + 1} has begun`))
  await ready
  await until(peers, (status) => isFormed(status, 2))
  const history = await kvctl('layout', 'history')
  assert.match(history, new RegExp(`^ *${plan.number + 1} .* begin join of ${second.address}$`, 'm'))
})

test.run()
