import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { choosePorts } from '../../src/cli/kvnode/ports.ts'
import { CLUSTER_OPTIONS } from '../../src/config/option-table.ts'
import { resolveOptions } from '../../src/config/resolve.ts'
import { endAll, type Finished, PeerProcess, run, scratchDirectory } from '../processes/peers.ts'

const NOTHING_GIVEN = { flags: {}, environment: {}, file: null }
const PROJECT = fileURLToPath(new URL('../..', import.meta.url))

const test = suite('bad input')
const directory = scratchDirectory()
const peer = new PeerProcess(join(directory, 'peer'))
const others: PeerProcess[] = []

test.before(async () => {
  await peer.start()
})
test.after(() => endAll([peer, ...others]))

function kvctl(...args: readonly string[]): Promise<Finished> {
  return run('kvctl', [...args, '--peer', peer.address])
}

function kvnode(...args: readonly string[]): Promise<Finished> {
  return run('kvnode', args, { cwd: directory })
}

/**
 * One or two lines on standard error, besides the log, that say this; nothing on standard output, no stack.
 */
function assertRefused(finished: Finished, code: number, ...said: readonly string[]): void {
  const { stdout, stderr } = finished
  assert.is(finished.code, code, stderr)
  assert.is(stdout, '')
  const lines = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('{'))
  assert.ok(lines.length <= 2, `more than two lines: ${stderr}`)
  assert.not(/\n {4}at /.test(stderr), stderr)
  for (const part of said) assert.ok(stderr.includes(part), `'${part}' is not in: ${stderr}`)
}

test('unknown commands and flags, missing and superfluous words are named: exit code 2', async () => {
  const attempts: readonly [readonly string[], string][] = [
    [['fetch', 'x'], "unknown command 'fetch'"],
    [['keyspace', 'make'], "unknown command 'keyspace make'; there are: alter, create, drop, list"],
    [['fault', 'bogus'], "unknown command 'fault bogus'; there are: delay, drop, fail, heal"],
    [['fault', 'drop', 'A', 'B'], "'drop' is written: kvctl fault drop A B 30%"],
    [['get'], 'KEY'],
    [['get', 'a', 'b'], 'unexpected argument: b'],
    [['get', 'a', '--colour'], '--colour'],
    [['get', 'a', '-r', 'most'], "-r is 'most'; allowed: a number, one, quorum or all"],
    [['get', 'a', '--timeout', 'soon'], "--timeout is 'soon'; allowed: a whole number"],
    [['get', 'a', '--timeout', '0'], "--timeout is '0'; allowed: a whole number, at least 1"],
    [['status', 'now'], 'unexpected argument: now'],
    [['keyspace', 'list', 'all'], 'unexpected argument: all'],
    [['keyspace', '--json', 'list'], "'keyspace' is followed by one of: alter, create, drop, list"],
    [['--json', 'status'], 'the command comes first, then its flags: kvctl COMMAND --json'],
    [['put', 'a', 'b', '--blind', '--context', 'c'], '--blind and --context exclude each other'],
    [['del', 'a', '--blind', '--context', 'c'], '--blind and --context exclude each other'],
    [['keyspace', 'create', 'x', '--replicas', '9'], "--replicas is '9'; allowed: a whole number, at most 7"],
    [['keyspace', 'create', 'x', '--strategy', 'star'], "--strategy is 'star'; allowed: ring, full"],
    [['ring', '--keyspace', 'other'], '--keyspace goes with --key'],
    [['layout', 'stage', 'zone', '127.0.0.1:1', '-'], "and not '-' alone; '' for none"],
    [['bench', '--workload', 'e'], "--workload is 'e'; allowed: a, b, c, d, f, put, get"],
    [['import', join(directory, 'nothing.csv')], 'there is no file'],
  ]
  const finished = await Promise.all(attempts.map(([args]) => run('kvctl', args)))
  for (const [index, [, said]] of attempts.entries()) assertRefused(finished[index] as Finished, 2, said)
})

test('an empty key, a key too long, a value too large, an unknown keyspace: exit code 2', async () => {
  assertRefused(await kvctl('put', '', 'x'), 2, 'at least one byte')
  assertRefused(await kvctl('get', 'k'.repeat(1025)), 2, '1025 bytes', '1 to 1024')
  assertRefused(await kvctl('get', 'k', '--keyspace', 'none'), 2, "keyspace 'none'")
  const large = await run('kvctl', ['put', 'k', '-', '--peer', peer.address], {
    input: Buffer.alloc(1024 * 1024 + 1),
  })
  assertRefused(large, 2, 'byte')
  assert.is((await kvctl('put', 'k'.repeat(1024), 'fits')).code, 0)
})

test('what was given reaches no terminal as it is', async () => {
  const key = 'nokey\u001b[31mred\u009b'
  const { code, stderr } = await kvctl('get', key)
  assert.equal({ code, stderr }, { code: 1, stderr: 'kvctl: no such key: nokey?[31mred?\n' })
  assertRefused(await kvctl('get', 'k', '--keyspace', key), 2, "'nokey?[31mred?'")
  assertRefused(await run('kvctl', [key]), 2, "'nokey?[31mred?'")
})

test('a peer that is not there: exit code 3, and how to name another', async () => {
  assertRefused(await run('kvctl', ['get', 'k', '--peer', '127.0.0.1:1']), 3, '127.0.0.1:1', '--peer')
  assertRefused(await run('kvctl', ['get', 'k', '--peer', 'nowhere']), 2, 'host:port')
})

test('bad options of a peer are named with what is allowed', async () => {
  assertRefused(await kvnode('start', '--port', '70000'), 2, '--port', '0 to 65535')
  assertRefused(await kvnode('start', '--data', ''), 2, "--data is ''; allowed: a directory")
  assertRefused(await kvnode('start', '--zone', '-'), 2, "--zone is '-'; allowed: up to 64", "not '-' alone")
  const alone = ['start', '--port', '0', '--data', 'alone', '--replace', '127.0.0.1:1']
  assertRefused(await kvnode(...alone), 2, '127.0.0.1:1 is to be replaced', '--join')
  assertRefused(await kvnode('start', 'now'), 2, 'unexpected argument: now', 'kvnode start --help')
  assertRefused(
    await kvnode('start', '--join', '127.0.0.1:1', '--join', 'nonsense'),
    2,
    "--join is 'nonsense'; allowed: addresses host:port",
  )
  const variable = await run('kvnode', ['start'], {
    cwd: directory,
    env: { KVNODE_PORT: 'tcp://10.0.0.1:1' },
  })
  assertRefused(variable, 2, 'KVNODE_PORT', '0 to 65535')
  writeFileSync(join(directory, 'odd.yaml'), 'prot: 7001\n')
  assertRefused(await kvnode('start', '--config', 'odd.yaml'), 2, "'prot' in odd.yaml", 'allowed: port, host')
  writeFileSync(join(directory, 'broken.yaml'), 'port: [1\n')
  assertRefused(await kvnode('start', '--config', 'broken.yaml'), 2, 'broken.yaml is not YAML')
  assertRefused(
    await kvnode('start', '--config', 'missing.yaml'),
    2,
    'missing.yaml: there is none',
    '--config',
  )
  assertRefused(await kvnode('start', '--config', '.'), 2, 'it is a directory')
})

test('a port that is taken is said, and the one who has it goes on', async () => {
  const port = peer.address.split(':')[1] as string
  const taken = 'is taken by a kvnode peer that runs already'
  const second = await kvnode('start', '--port', port, '--data', 'second')
  assertRefused(second, 2, `port ${port} on 127.0.0.1 ${taken}`, '--port')
  assert.not(existsSync(join(directory, 'second')), 'nothing is made for a peer that cannot be')
  const cluster = await kvnode('cluster', '--port', port, '--data', 'third')
  assertRefused(cluster, 2, `port ${port} ${taken}`, 'other ports: kvnode cluster --port ')
  assert.is.not(/--port (\d+)/.exec(cluster.stderr)?.[1], port, 'it names others')
  assert.is((await kvctl('put', 'still', 'here')).code, 0)
})

test('a second process on the same data directory is refused', async () => {
  assertRefused(await kvnode('start', '--port', '0', '--data', peer.dataDir), 2, peer.dataDir)
})

test('a data directory of a newer format is refused, and left as it is', async () => {
  const newer = join(directory, 'newer')
  mkdirSync(newer)
  writeFileSync(join(newer, 'format'), 'kvnode data format 999\n')
  assertRefused(await kvnode('start', '--port', '0', '--data', newer), 2, 'format 999')
})

test('output that cannot be written is said in one line: exit code 3; to a closed pipe quietly', async () => {
  if (!existsSync('/dev/full')) return
  const sh = (script: string): Promise<Finished> => runShell(script, peer.address)
  await kvctl('put', 'large', 'v'.repeat(100_000))
  for (const words of ['get large', 'status --json', 'ring', '--help', 'get none --json']) {
    const { code, stderr } = await sh(`bin/kvctl ${words} > /dev/full`)
    assert.is(stderr, 'kvctl: the output cannot be written: ENOSPC: no space left on device\n', words)
    assert.is(code, 3, words)
  }
  // What is read of is kept open until the writer has failed, and closed before it has written all.
  const piped = await sh('{ bin/kvctl get large; echo $? >&2; } | head -c 1')
  assert.equal(piped, { code: 0, stdout: 'v', stderr: '141\n' })
  assert.is((await sh('bin/kvctl get none 2> /dev/full')).code, 1)
  assert.is((await sh('bin/kvctl get k --peer 127.0.0.1:1 2> /dev/full')).code, 3)
})

test('a peer serves on where its ready line and its log cannot be written', async () => {
  if (!existsSync('/dev/full')) return
  const [port] = await choosePorts({ ...resolveOptions(CLUSTER_OPTIONS, NOTHING_GIVEN), port: 0, peers: 1 })
  const start = `bin/kvnode start --port ${port} --data '${join(directory, 'unheard')}'`
  const { code, stdout } = await runShell(
    `${start} > /dev/full 2> /dev/full & peer=$!
     for i in $(seq 50); do bin/kvctl status --peer 127.0.0.1:${port} && break; done
     kill $peer; wait $peer`,
    peer.address,
  )
  assert.match(stdout, /^UN /m)
  assert.is(code, 0, 'it stopped in order')
})

test('garbage on the port ends that connection and nothing else', async () => {
  const port = Number(peer.address.split(':')[1])
  const greetings = [
    Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc]),
    Buffer.from('SSH-2.0-OpenSSH_9.2\r\n'),
    Buffer.from(
      'GET /v1/control HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Key: x\r\n\r\n',
    ),
    Buffer.from('PUT /v1/kv/default/%zz HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n'),
    Buffer.alloc(100_000, 0xff),
  ]
  await Promise.all(greetings.map((greeting) => sendGarbage(port, greeting)))
  assert.is((await kvctl('get', 'still')).stdout, 'here')
})

test('SIGTERM and SIGINT end a peer in order, with exit code 0', async () => {
  const quiet = new PeerProcess(join(directory, 'quiet'))
  others.push(quiet)
  assert.match(await quiet.start(), /^kvnode ready on 127\.0\.0\.1:\d+\n$/)
  assert.match(quiet.log, '"lastStop":"none"')
  assert.is(await quiet.end('SIGTERM'), 0)
  await quiet.start()
  assert.match(quiet.log, '"lastStop":"clean"')
  assert.is(await quiet.end('SIGINT'), 0)
  assert.is(quiet.stdout.split('\n').length, 2, 'one line on standard output')
})

test('logs are JSON lines on standard error', async () => {
  for (const line of peer.log.trimEnd().split('\n')) assert.type(JSON.parse(line).event, 'string')
})

test('listening beyond this machine is warned of', async () => {
  const exposed = new PeerProcess(join(directory, 'exposed'), {
    args: ['--host', '0.0.0.0', '--advertise', '127.0.0.1:1'],
  })
  others.push(exposed)
  await exposed.start()
  assert.match(exposed.log, 'without authentication')
  await exposed.end('SIGTERM')
})

/** Bourne shell in the root of the project; `kvctl` asks that peer. */
async function runShell(script: string, address: string): Promise<Finished> {
  const env = { ...process.env, KVCTL_PEER: address }
  const child = spawn('/bin/sh', ['-c', script], { cwd: PROJECT, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const said = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      said[name] += text
    })
  }
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, ...said }
}

/** Sends it and waits until the connection is closed or a moment has passed. */
function sendGarbage(port: number, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    const socket = connectTcp(port, '127.0.0.1', () => socket.write(bytes))
    socket.on('error', () => resolve())
    socket.once('close', () => resolve())
    socket.setTimeout(500, () => socket.destroy())
    socket.resume()
  })
}

test.run()
