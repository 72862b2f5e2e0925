// Loads `echo.proto` as grpc-js wants it.
'use strict';

const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const { loadSync } = require('@grpc/proto-loader');

const definition = loadSync(path.join(__dirname, '..', 'echo.proto'), { defaults: true });

module.exports = {
  grpc,
  Echo: grpc.loadPackageDefinition(definition).interop.Echo,
  UNBOUNDED: { 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 },
};
