#!/usr/bin/env node
// Which callback gets which answer with qemu-qmp 0.5.0 (npm install qemu-qmp), at a machine with
// a drive disk0.
//
//     shifted_answers.js SOCKET

const QMP = require('qemu-qmp');

const qmp = new QMP();
qmp.connect(process.argv[2], () => {
  const line = { 'command-line': 'qemu-io disk0 "read -q 0 512"' };
  const say = (name) => (error, value) => console.log(name + ':', JSON.stringify(value));
  qmp.execute('human-monitor-command', line, say('human-monitor-command'));
  qmp.execute('query-status', say('query-status'));
  qmp.execute('query-name', () => {
    console.log('query-name: it has come');
  });
  qmp.execute('query-uuid', () => process.exit(0));
  setTimeout(() => process.exit(0), 1000);
});
