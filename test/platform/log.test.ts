import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Log } from '../../src/effects/log.ts'
import { createLog, type LogOptions } from '../../src/platform/log.ts'

const test = suite('log', { directory: '' })

test.before((context) => {
  context.directory = mkdtempSync(join(tmpdir(), 'kvnode-log-'))
})
test.after((context) => {
  rmSync(context.directory, { recursive: true })
})

async function written(
  directory: string,
  options: Omit<LogOptions, 'fd'>,
  write: (log: Log) => void,
): Promise<string> {
  const path = join(directory, 'log')
  const fd = openSync(path, 'w')
  try {
    write(await createLog({ ...options, fd }))
    return readFileSync(path, 'utf8')
  } finally {
    closeSync(fd)
  }
}

test('an event is one JSON line, on disk as soon as the call returns', async ({ directory }) => {
  const text = await written(directory, { level: 'info', fields: { peer: 'p1' } }, (log) => {
    log.info('listening', { port: 7001 })
    log.debug('left out')
    log.error('broken')
  })
  const lines = text.trimEnd().split('\n')
  assert.is(lines.length, 2)
  const { time, ...first } = JSON.parse(lines[0] as string)
  assert.equal(first, { level: 'info', peer: 'p1', port: 7001, event: 'listening' })
  assert.not.throws(() => new Date(time).toISOString())
})

test('a log that cannot be written ends nothing', async () => {
  if (!existsSync('/dev/full')) return
  for (const pretty of [false, true]) {
    const fd = openSync('/dev/full', 'w')
    const log = await createLog({ level: 'info', fd, pretty })
    for (let i = 0; i < 10_000; i++)
      log.error('disk.full', { i, error: new Error('no space left on device') })
    closeSync(fd)
  }
})

test('an error among the fields is spelled out with its cause', async ({ directory }) => {
  const error = new Error('outer', { cause: new RangeError('inner') })
  const text = await written(directory, { level: 'warn' }, (log) => log.warn('failed', { error }))
  const line = JSON.parse(text)
  assert.is(line.error.message, 'outer')
  assert.is(line.error.cause.name, 'RangeError')
})

test('on a terminal the line is for people', async ({ directory }) => {
  const text = await written(directory, { level: 'info', pretty: true }, (log) =>
    log.info('listening', { port: 1 }),
  )
  assert.match(text, 'listening')
  assert.throws(() => JSON.parse(text))
})

test('level silent writes nothing', async ({ directory }) => {
  const text = await written(directory, { level: 'silent' }, (log) => log.error('unheard'))
  assert.is(text, '')
})

test.run()
