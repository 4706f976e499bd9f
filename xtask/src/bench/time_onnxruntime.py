"""Times ONNX Runtime: python time_onnxruntime.py MODEL.onnx INPUTS.npz THREADS; prints JSON."""
import json, sys, time
import numpy as np, onnxruntime as ort

model, inputs, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
options = ort.SessionOptions()
options.intra_op_num_threads = threads
options.inter_op_num_threads = 1
session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
arrays = np.load(inputs)
feed = {i.name: np.ascontiguousarray(arrays[i.name]) for i in session.get_inputs()}
session.run(None, feed)
wall, cpu = [], []
while len(wall) < 3 or (sum(wall) < 2 and len(wall) < 100):
    start, used = time.perf_counter(), time.process_time()
    session.run(None, feed)
    wall.append(time.perf_counter() - start)
    cpu.append(time.process_time() - used)
print(json.dumps({"seconds": min(wall), "cpu_seconds": min(cpu), "runs": len(wall), "version": ort.__version__}))
