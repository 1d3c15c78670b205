/** What `require('kvnode')` gets: there is top-level `await` in the bundle, so Node.js cannot require it. */
'use strict'

const error = new Error(
  "kvnode is an ES module: use import { connect } from 'kvnode', or, in CommonJS, await import('kvnode')",
)
throw Object.assign(error, { name: 'KvError', code: 'INVALID_ARGUMENT', retryable: false })
