/**
 * The messages of kusciajob.v1 as its JSON has them, where the page reads them. 64-bit integers are strings.
 *
 * @typedef {'Pending'|'Running'|'Succeeded'|'Failed'|'AwaitingApproval'|'ApprovalReject'|'Cancelled'|'Suspended'} State
 *
 * @typedef {object} JobSummary
 * @property {string} job_id
 * @property {string} initiator
 * @property {State} state
 * @property {string} err_msg
 * @property {string} create_time
 * @property {string|null} start_time
 * @property {string|null} end_time
 * @property {Record<string, number>} task_states
 * @property {number} progress
 * @property {Record<string, string>} custom_fields
 * @property {Record<string, string>} labels
 * @property {string} number
 * @property {string} revision
 * @property {string[]} parties
 * @property {string[]} app_images
 * @property {string[]} operations what would change it now
 * @property {string|null} restart_time the last time it was restarted
 * @property {string} cause err_msg without who was only stopped; empty where that is the same
 *
 * @typedef {object} Endpoint
 * @property {string} port_name
 * @property {string} scope
 * @property {string} endpoint
 *
 * @typedef {object} PartyAttempt
 * @property {string} domain_id
 * @property {string} role
 * @property {State} state
 * @property {string|null} start_time
 * @property {string|null} end_time
 * @property {number|null} exit_code
 * @property {string} signal
 * @property {string} err_msg
 * @property {Endpoint[]} endpoints
 * @property {boolean} was_stopped
 *
 * @typedef {object} Attempt
 * @property {number} number
 * @property {State} state
 * @property {string|null} start_time
 * @property {string|null} end_time
 * @property {string} err_msg
 * @property {PartyAttempt[]} parties
 * @property {string|null} wait_time
 * @property {string|null} place_time
 *
 * @typedef {object} Task
 * @property {string} alias
 * @property {string} task_id
 * @property {string} app_image
 * @property {string[]} dependencies
 * @property {State} state
 * @property {string} err_msg
 * @property {number} progress
 * @property {number} attempt
 * @property {string|null} retry_time
 * @property {Attempt[]} attempts
 * @property {string|null} wait_time
 *
 * @typedef {object} TaskRequest
 * @property {string} alias
 * @property {string} task_id
 * @property {string} app_image
 * @property {boolean} tolerable
 * @property {string} task_input_config
 * @property {{domain_id: string, role: string}[]} parties
 *
 * @typedef {object} SubmitJobRequest
 * @property {{job_id: string, tasks: TaskRequest[]}} job
 * @property {Record<string, object>} task_policies
 * @property {string|null} deadline
 * @property {string|null} ttl
 * @property {Record<string, string>} labels
 *
 * @typedef {object} Job
 * @property {JobSummary} summary
 * @property {SubmitJobRequest} request
 * @property {string} waiting
 * @property {Task[]} tasks
 * @property {string} stage
 * @property {string} stage_caller
 * @property {string} stage_reason
 * @property {string[]} awaited_domains
 *
 * @typedef {object} HistoryEntry
 * @property {string} revision
 * @property {string} time
 * @property {string} event
 * @property {string} caller
 * @property {string} peer
 * @property {string} alias
 * @property {number} attempt
 * @property {string} domain_id
 * @property {string} role
 * @property {string} reason
 * @property {number|null} exit_code
 * @property {number} progress
 * @property {boolean} was_stopped
 *
 * @typedef {object} AppImage
 * @property {string} name
 * @property {string} image
 * @property {{role: string, replicas: number, ports: {name: string, protocol: string, scope: string}[]}[]} roles
 * @property {string} file
 * @property {Record<string, any>|null} definition
 *
 * @typedef {object} TaskConfig
 * @property {string} domain_id
 * @property {string} role
 * @property {{container: string, path: string, text: string, is_cut: boolean}[]} files
 * @property {string} problem
 *
 * @typedef {object} JobEvent
 * @property {string} type
 * @property {string} revision
 * @property {JobSummary|null} job
 *
 * @typedef {object} LogLine
 * @property {string} stream
 * @property {string} text
 * @property {string} offset
 * @property {string|null} time
 * @property {boolean} is_partial
 * @property {string} dropped_bytes
 * @property {string} end_offset
 */
export {};
