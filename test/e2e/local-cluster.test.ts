import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { run, scratchDirectory } from '../processes/peers.ts'

const test = suite('kvnode cluster')
const directory = scratchDirectory()
const KVNODE = resolve('bin/kvnode')
const START_TIMEOUT_MS = 20_000

/** Starts it and waits for the guide. */
async function startCluster(
  args: readonly string[],
): Promise<{ readonly child: ChildProcess; readonly guide: string; output(): string; errors(): string }> {
  const child = spawn(process.execPath, [KVNODE, 'cluster', ...args], {
    cwd: directory,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  let errors = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    errors += chunk.toString()
  })
  child.stdout?.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  const deadlineMs = Date.now() + START_TIMEOUT_MS
  while (!output.includes('Ctrl-C')) {
    if (child.exitCode !== null || Date.now() > deadlineMs) throw new Error(`no guide: ${output}${errors}`)
    await sleep(20)
  }
  return { child, guide: output, output: () => output, errors: () => errors }
}

/** The first of so many free ports. */
async function portsInARow(count: number): Promise<number> {
  for (;;) {
    const first = await freePort(0)
    const others = Array.from({ length: count - 1 }, (_, index) => freePort(first + index + 1))
    const isFree = await Promise.all(others).then(
      () => true,
      () => false,
    )
    if (isFree) return first
  }
}

function freePort(port: number): Promise<number> {
  return new Promise((resolvePort, reject) => {
    const probe = createServer().once('error', reject)
    probe.listen(port, '127.0.0.1', () => {
      const { port: found } = probe.address() as AddressInfo
      probe.close(() => resolvePort(found))
    })
  })
}

async function interrupt(child: ChildProcess): Promise<number | null> {
  child.kill('SIGINT')
  const [code] = (await once(child, 'exit')) as [number | null]
  return code
}

/** The three lines to try, without the name of the program in front. */
function linesToTry(guide: string): string[][] {
  const lines = guide.split('\n').filter((line) => line.startsWith('  '))
  return lines.map((line) => line.trim().split(' ').slice(1))
}

let ports: string[] = []

test('it starts three peers, and the lines it prints work as pasted', async () => {
  const { child, guide } = await startCluster(['--port', '0'])
  ports = [...guide.matchAll(/^127\.0\.0\.1:(\d+) +ready/gm)].map((match) => match[1] as string)
  assert.is(ports.length, 3)
  assert.match(guide, '.kvnode/*.log')
  const lines = linesToTry(guide)
  assert.equal(
    lines.map(([command]) => command),
    ['put', 'get', 'status'],
  )
  const outputs: string[] = []
  for (const line of lines) {
    const { code, stdout } = await run('kvctl', line)
    assert.is(code, 0)
    outputs.push(stdout)
  }
  assert.is(outputs[1], 'hello')
  assert.is(outputs[2]?.match(/^UN /gm)?.length, 3)
  assert.is(await interrupt(child), 0)
  const names = readdirSync(join(directory, '.kvnode')).sort()
  assert.equal(names, [...ports, ...ports.map((port) => `${port}.log`)].sort())
})

test('when the process that started them is killed, no peer is left behind', async () => {
  const { child, guide } = await startCluster(['--port', '0', '--peers', '2', '--data', 'killed'])
  const processIds = [...guide.matchAll(/ready +(\d+)/g)].map((match) => Number(match[1]))
  child.kill('SIGKILL')
  const deadlineMs = Date.now() + 5000
  while (processIds.some(isRunning)) {
    assert.ok(Date.now() < deadlineMs, 'a peer outlived its parent')
    await sleep(50)
  }
})

test('peers that an earlier run did not have are told of at once, and join', async () => {
  const first = await portsInARow(2)
  const same = ['--port', String(first), '--data', 'grown']
  const one = await startCluster([...same, '--peers', '1'])
  const put = await run('kvctl', ['put', 'k', 'v', '--peer', `127.0.0.1:${first}`])
  assert.is(put.code, 0, put.stderr)
  await interrupt(one.child)
  const two = await startCluster([...same, '--peers', '2'])
  assert.match(two.errors(), `grown has the data of 1 of these peers; 127.0.0.1:${first + 1} will join`)
  assert.match(two.errors(), '--peers 1 runs those there are')
  assert.match(two.guide, new RegExp(`127.0.0.1:${first} +ready`))
  assert.match(two.guide, new RegExp(`127.0.0.1:${first + 1} +ready`))
  assert.not.match(two.guide, 'have joined so far')
  await interrupt(two.child)
})

test('a peer that has left is named and left out, and the others are back', async () => {
  const first = await portsInARow(3)
  const addresses = [0, 1, 2].map((index) => `127.0.0.1:${first + index}`)
  const [founder = '', second = '', third = ''] = addresses
  const same = ['--port', String(first), '--peers', '3', '--data', 'left']
  const before = await startCluster(same)
  assert.is((await run('kvctl', ['put', 'k', 'v', '--peer', second])).code, 0)
  const leave = await run('kvctl', ['leave', founder, '--peer', second])
  assert.is(leave.code, 0, leave.stderr)
  // Its process ends once the others know.
  const deadlineMs = Date.now() + START_TIMEOUT_MS
  while (!before.output().includes(`${founder} ended`)) {
    assert.ok(Date.now() < deadlineMs, before.output())
    await sleep(20)
  }
  await interrupt(before.child)
  const after = await startCluster(same)
  assert.is(after.errors().match(/no member of its cluster any more/g)?.length, 1)
  assert.match(after.errors(), `${founder} is no member of its cluster any more`)
  assert.match(after.errors(), `directory left/${first} moved away`)
  assert.not.match(after.guide, founder)
  for (const address of [second, third]) assert.match(after.guide, new RegExp(`${address} +ready`))
  const got = await run('kvctl', ['get', 'k', '--peer', third])
  assert.is(got.stdout.trim(), 'v')
  assert.is(await interrupt(after.child), 0)
})

test('under npm start what cannot start is told, and the program ends', async () => {
  const first = await portsInARow(2)
  const same = ['--port', String(first), '--peers', '2', '--data', 'damaged']
  await interrupt((await startCluster(same)).child)
  for (const name of ['identity', 'identity.copy']) {
    writeFileSync(join(directory, 'damaged', String(first + 1), name), 'no identity')
  }
  const { code, stderr } = await run('kvnode', ['cluster', ...same], {
    cwd: directory,
    env: { npm_lifecycle_event: 'start' },
  })
  assert.is.not(code, 0)
  assert.match(stderr, 'are damaged')
})

test('a peer that was killed before is no failure of the stop', async () => {
  const { child, guide } = await startCluster(['--port', '0', '--peers', '2', '--data', 'one-killed'])
  const [processId] = [...guide.matchAll(/ready +(\d+)/g)].map((match) => Number(match[1]))
  const told = once(child.stdout as NonNullable<ChildProcess['stdout']>, 'data')
  process.kill(processId as number, 'SIGKILL')
  assert.match(String(await told), 'was ended by SIGKILL')
  assert.is(await interrupt(child), 0)
})

test('--clean starts afresh', async () => {
  const { child } = await startCluster(['--port', '0', '--peers', '1', '--clean', '--data', 'clean'])
  assert.ok(existsSync(join(directory, 'clean')))
  assert.is(await interrupt(child), 0)
})

function isRunning(processId: number): boolean {
  try {
    process.kill(processId, 0)
    return true
  } catch {
    return false // There is no such process, which is the answer.
  }
}

test.run()
