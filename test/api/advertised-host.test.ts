import type { NetworkInterfaceInfo } from 'node:os'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { advertisedHost } from '../../src/api/advertised-host.ts'

const test = suite('advertised host')

const LOOPBACK = ['127.0.0.1', '::1'].map(info)

function info(address: string): NetworkInterfaceInfo {
  const internal = address === '127.0.0.1' || address === '::1'
  const rest = { address, netmask: '', mac: '', internal, cidr: null }
  return address.includes(':') ? { ...rest, family: 'IPv6', scopeid: 0 } : { ...rest, family: 'IPv4' }
}

function machine(...addresses: readonly string[]): Record<string, NetworkInterfaceInfo[]> {
  return { lo: LOOPBACK, eth0: addresses.map(info) }
}

test('a host that others can be told is told', () => {
  for (const host of ['127.0.0.1', '10.0.0.1', '10.0.0.0', 'db1', '::1', '::10']) {
    assert.is(advertisedHost(host, machine('10.0.0.1', '10.0.0.2')), null)
  }
})

test('a wildcard is never told: the only address of the machine is, or the loopback one', () => {
  assert.is(advertisedHost('0.0.0.0', machine('10.0.0.1', 'fe80::1', 'fd00::1')), '10.0.0.1')
  assert.is(advertisedHost('::', machine('10.0.0.1', 'fe80::1', 'fd00::1')), '10.0.0.1')
  assert.is(advertisedHost('::', machine('fe80::1', 'fd00::1')), 'fd00::1')
  assert.is(advertisedHost('0.0.0.0', machine('fd00::1')), '127.0.0.1')
  assert.is(advertisedHost('0.0.0.0', machine()), '127.0.0.1')
})

test('of several addresses none is chosen: the error names them, and what to give', () => {
  for (const host of ['0.0.0.0', '::', '0', '::0']) {
    assert.throws(
      () => advertisedHost(host, machine('10.0.0.1', '172.17.0.1')),
      ({ code, message }: { code: string; message: string }) =>
        code === 'INVALID_ARGUMENT' && /10\.0\.0\.1, 172\.17\.0\.1.*--advertise HOST:PORT/.test(message),
    )
  }
})

test.run()
