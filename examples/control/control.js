// A client of QMP in Node that is tested: what it sees of a backup at 37 %, and of a full disk.
//
// usage: node control.js QMP-SOCKET CONTROL-SOCKET
'use strict';

const QMP = require('qemu-qmp');

function connect(path) {
  return new Promise((resolve, reject) => {
    const qmp = new QMP();
    qmp.connect(path, (error) => (error ? reject(error) : resolve(qmp)));
  });
}

function run(qmp, command, args) {
  return new Promise((resolve, reject) => {
    qmp.execute(command, args || {}, (error, value) => (error ? reject(error) : resolve(value)));
  });
}

async function main(qmpPath, controlPath) {
  const qmp = await connect(qmpPath);
  const control = await connect(controlPath);

  // the guest fills its disk, which can be read at 10 MiB a second
  const mib = 1 << 20;
  await run(control, 'x-sim-disk-write', {disk: 'disk0', offset: 0, pattern: 17, length: 100 * mib});
  await run(control, 'x-sim-pace', {node: 'disk0', 'bytes-per-second': 10 * mib});

  const job = {'job-id': 'backup', device: 'disk0', target: 'target', sync: 'full'};
  await run(qmp, 'blockdev-backup', job);
  await run(control, 'x-sim-clock-advance', {seconds: 3.75});
  const [state] = await run(qmp, 'query-jobs');
  console.log(`${state.id}: ${100 * state['current-progress'] / state['total-progress']} %`);

  // from now on the target is full
  await run(control, 'x-sim-fault-fail', {operation: 'pwrite', node: 'target', errno: 'ENOSPC'});
  const event = {name: 'BLOCK_JOB_COMPLETED'};
  const completed = await run(control, 'x-sim-clock-until-event', event);
  console.log(`${completed.data.device}: ${completed.data.error}`);

  // what is not there is named
  await run(control, 'x-sim-disk-flush', {disk: 'disk9'}).catch((error) => {
    console.log(error.message.split(' (')[0]);
  });
  qmp.end();
  control.end();
}

main(process.argv[2], process.argv[3]).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
