// An instance whose client of Eureka is eureka-js-client.
//
// It registers, asks for changes ten times a second, and says over HTTP what it knows: `/seen`, by
// virtual address. `/stop` has it say farewell.
'use strict';

const http = require('http');
const { Eureka } = require('eureka-js-client');

const [servers, app, instanceId, port, delta] = process.argv.slice(2);
const client = new Eureka({
  instance: {
    app,
    instanceId,
    hostName: '127.0.0.1',
    ipAddr: '127.0.0.1',
    port: { $: Number(port), '@enabled': true },
    vipAddress: app.toLowerCase(),
    statusPageUrl: `http://127.0.0.1:${port}/info`,
    dataCenterInfo: { '@class': 'com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo', name: 'MyOwn' },
    metadata: { color: 'alice', of: 'eureka-js-client' },
  },
  eureka: {
    serviceUrls: { default: servers.split(',').map((it) => `${it}/apps/`) },
    heartbeatInterval: 200,
    registryFetchInterval: 100,
    maxRetries: 3,
  },
  shouldUseDelta: delta === 'delta',
  requestMiddleware: (options, done) => done({ ...options, gzip: true }),
});

const shown = (it) => ({
  id: it.instanceId, status: it.status, ip: it.ipAddr, vip: it.vipAddress, port: it.port.$, metadata: it.metadata,
});

const seen = () => Object.fromEntries(
  Object.entries(client.cache.vip).filter(([, all]) => all.length > 0).map(([vip, all]) => [vip.toUpperCase(), all.map(shown)]));

const server = http.createServer((request, response) => {
  const answer = () => response.end(JSON.stringify(seen()));
  if (request.url === '/stop') {
    client.stop(answer);
  } else {
    answer();
  }
});

client.start((error) => {
  if (error) throw error;
  server.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
});
