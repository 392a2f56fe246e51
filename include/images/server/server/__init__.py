"""The reference server: sentence embeddings from the snapshot that MODEL_PATH names.

It shows what a server must do to be released by Modelberth, and no more:

    snapshot.py   is MODEL_PATH a whole snapshot, and of which revision?
    tensors.py    safetensors into memory
    model.py      the forward pass: text -> vector
    serving.py    what this process serves now, or why it does not
    app.py        /healthz, /modelz, /embed
    drain.py      SIGTERM: unready at once, gone a little later
"""
