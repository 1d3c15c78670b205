import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { createSystemMetrics } from '../../src/platform/metrics.ts'

test('a scrape shows counters, gauges and histograms as they are at that moment', async () => {
  const metrics = createSystemMetrics()
  const puts = metrics.counter('kv_puts_total', 'Puts.')
  let keys = 3
  metrics.gauge('kv_keys_count', 'Keys held.', () => keys)
  const latency = metrics.histogram('kv_put_seconds', 'Time of a put.')
  puts.add()
  puts.add(4)
  for (const seconds of [0.00005, 0.0001, 0.002, 99]) latency.observe(seconds)
  const first = await metrics.render()
  assert.match(first.contentType, 'text/plain')
  assert.match(first.body, /^# TYPE kv_puts_total counter\nkv_puts_total 5$/m)
  assert.match(first.body, /^kv_keys_count 3$/m)
  assert.match(first.body, /^kv_put_seconds_bucket\{le="0.0001"\} 2$/m)
  assert.match(first.body, /^kv_put_seconds_bucket\{le="0.001"\} 2$/m)
  assert.match(first.body, /^kv_put_seconds_bucket\{le="0.0025"\} 3$/m)
  assert.match(first.body, /^kv_put_seconds_bucket\{le="10"\} 3$/m)
  assert.match(first.body, /^kv_put_seconds_bucket\{le="\+Inf"\} 4$/m)
  assert.match(first.body, /^kv_put_seconds_count 4$/m)
  puts.add(1)
  keys = 7
  const second = await metrics.render()
  assert.match(second.body, /^kv_puts_total 6$/m)
  assert.match(second.body, /^kv_keys_count 7$/m)
})

test('what was named after the first scrape shows in the next', async () => {
  const metrics = createSystemMetrics()
  await metrics.render()
  metrics.counter('kv_gets_total', 'Gets.').add(2)
  assert.match((await metrics.render()).body, /^kv_gets_total 2$/m)
})

test('asking for a counter again gives the same one', async () => {
  const metrics = createSystemMetrics()
  metrics.counter('kv_gets_total', 'Gets.').add()
  metrics.counter('kv_gets_total', 'Gets.').add()
  assert.match((await metrics.render()).body, /^kv_gets_total 2$/m)
})

test('a scrape tells about the process, and two peers in one process do not meet', async () => {
  const bodies = await Promise.all([createSystemMetrics().render(), createSystemMetrics().render()])
  for (const { body } of bodies) assert.match(body, 'process_resident_memory_bytes')
})

test('the CPU time of the process counts from its start, not from the first scrape', async () => {
  const { user, system } = process.cpuUsage()
  const { body } = await createSystemMetrics().render()
  const shown = (name: string): number => Number(new RegExp(`^${name} (.+)$`, 'm').exec(body)?.[1])
  assert.ok(shown('process_cpu_user_seconds_total') >= user / 1e6)
  assert.ok(shown('process_cpu_system_seconds_total') >= system / 1e6)
  const used = shown('process_cpu_seconds_total')
  assert.ok(used >= (user + system) / 1e6 && used < (user + system) / 1e6 + 5, `${used} s`)
})

test.run()
