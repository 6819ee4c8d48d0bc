"""AppImages and jobs in the form in which they are written for Kuscia."""

SECRETFLOW = """\
apiVersion: kuscia.secretflow/v1alpha1
kind: AppImage
metadata:
  name: secretflow-image
  creationTimestamp: null
spec:
  configTemplates:
    task-config.conf: |
      {
        "task_id": "{{.TASK_ID}}",
        "task_input_config": "{{.TASK_INPUT_CONFIG}}",
        "task_cluster_def": "{{.TASK_CLUSTER_DEFINE}}",
        "allocated_ports": "{{.ALLOCATED_PORTS}}"
      }
  deployTemplates:
    - name: secretflow
      replicas: 1
      spec:
        containers:
          - command: [sh]
            args: ["-c", "python -m secretflow.kuscia.entry ./kuscia/task-config.conf"]
            configVolumeMounts:
              - mountPath: /work/kuscia/task-config.conf
                subPath: task-config.conf
            name: secretflow
            ports:
              - {name: spu, protocol: GRPC, scope: Cluster}
              - {name: fed, protocol: GRPC, scope: Cluster}
              - {name: global, protocol: GRPC, scope: Domain}
              - {name: node-manager, protocol: GRPC, scope: Local}
              - {name: inference}
            workingDir: /work
            securityContext:
              privileged: true
        restartPolicy: Never
  image:
    id:
    name: secretflow/secretflow-lite-anolis8
    tag: 1.11.0b1
"""

PSI = """\
apiVersion: kuscia.secretflow/v1alpha1
kind: AppImage
metadata:
  name: psi-image
spec:
  configTemplates:
    task-config.conf: '{"task_id": "{{.TASK_ID}}", "port": {{{.ALLOCATED_PORTS.ports[name=psi].port}}}}'
  deployTemplates:
    - name: psi
      replicas: 1
      spec:
        containers:
          - name: psi
            command: [sh]
            args: [-c, /root/main --kuscia ./kuscia/task-config.conf]
            configVolumeMounts:
              - mountPath: ./kuscia/task-config.conf
                subPath: task-config.conf
            ports:
              - {name: psi, port: 54509, protocol: HTTP, scope: Cluster}
            workingDir: /work
        restartPolicy: Never
  image: {id: abc, name: secretflow/psi-anolis8, sign: abc, tag: 0.4.0b0}
"""

SCQL = """\
apiVersion: kuscia.secretflow/v1alpha1
kind: AppImage
metadata:
  name: scql
  annotations: {note: two programs with a template each}
spec:
  configTemplates:
    brokerConf: |-
      intra_server:
        port: {{.KUSCIA_PORT_INTRA_NUMBER}}
      party_code: {{.KUSCIA_DOMAIN_ID}}
    engineConf: |-
      --listen_port={{.KUSCIA_PORT_ENGINEPORT_NUMBER}}
      --link_port={{.KUSCIA_PORT_LINKPORT_NUMBER}}
  deployTemplates:
    - name: broker
      role: broker
      replicas: 1
      networkPolicy:
        ingresses:
          - from: {roles: [engine]}
            ports: [{port: inter}]
      spec:
        affinity:
          podAntiAffinity:
            requiredDuringSchedulingIgnoredDuringExecution:
              - topologyKey: kubernetes.io/hostname
        containers:
          - command: [/home/admin/bin/broker, -config=./configs/config.yml]
            configVolumeMounts:
              - mountPath: /work/configs/config.yml
                subPath: brokerConf
            name: broker
            env:
              - {name: MODE, value: p2p}
              - name: POD_IP
                valueFrom: {fieldRef: {fieldPath: status.podIP}}
            envFrom:
              - configMapRef: {name: broker-settings}
            ports:
              - {name: intra, port: 8080, protocol: HTTP, scope: Domain}
              - {name: inter, port: 8081, protocol: HTTP, scope: Cluster}
            readinessProbe:
              httpGet: {path: /health, port: intra}
            livenessProbe:
              exec: {command: [cat, /tmp/healthy]}
              periodSeconds: 20
            imagePullPolicy: IfNotPresent
            workingDir: /work
        restartPolicy: Always
    - name: engine
      role: engine, client,
      spec:
        containers:
          - command: [/home/admin/bin/scqlengine, --flagfile=./conf/gflags.conf]
            configVolumeMounts:
              - mountPath: /work/conf/gflags.conf
                subPath: engineConf
            name: engine
            resources:
              requests: {cpu: 1, memory: 2Gi}
              limits: {cpu: 0.5}
            ports:
              - {name: engineport, port: 8003, protocol: HTTP, scope: Domain}
              - {name: linkport, port: 8004, protocol: HTTP, scope: Cluster}
            workingDir: /work
        restartPolicy: Never
  image: {name: secretflow/scql, tag: latest}
"""

KUSCIA_JOB = """\
apiVersion: kuscia.secretflow/v1alpha1
kind: KusciaJob
metadata:
  name: job-best-effort-linear
  namespace: cross-domain
spec:
  flowID: flow-1
  initiator: alice
  scheduleMode: BestEffort
  maxParallelism: 2
  tasks:
    - alias: job-psi
      taskID: job-psi-1
      priority: 100
      taskInputConfig: '{"sf_input_ids":["alice-table","bob-table"]}'
      appImage: secretflow-image
      scheduleConfig:
        lifecycleSeconds: 60
        minReservedMembers: 2
        resourceReservedSeconds: 30
        retryIntervalSeconds: 15
      parties:
        - domainID: alice
          role: host
          resources:
            limits: {cpu: 2, memory: 4Gi, "example.com/gpu": 1}
            requests: {cpu: 1, memory: "2Gi"}
          bandwidthLimits:
            - destinationID: bob
              limitKBps: 1000
        - domainID: bob
    - alias: job-split
      dependencies: ['job-psi']
      tolerable: true
      taskInputConfig: ""
      appImage: secretflow-image
      parties:
        - {domainID: alice, resources: {requests: {cpu: 500m}}}
status:
  phase: Succeeded
  startTime: 2023-03-30T12:11:41Z
"""
